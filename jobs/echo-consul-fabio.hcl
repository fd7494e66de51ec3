# A new version, carefully: one canary beside the five old instances. Once it is healthy and promoted, the old ones are
# replaced all at once, and no request is lost on the way.
#
#   trine job run jobs/echo-consul-fabio.hcl
#   trine job promote http-echo
job "http-echo" {
  datacenters = ["dc1"]

  group "echo" {
    count = 5

    update {
      canary           = 1
      max_parallel     = 5
      min_healthy_time = "1s"
      healthy_deadline = "1m"
    }

    network {
      port "http" {}
    }

    service {
      name = "http-echo"
      port = "http"
      tags = ["urlprefix-/http-echo"]

      check {
        type     = "http"
        path     = "/health"
        interval = "2s"
        timeout  = "2s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "trine"
        args = [
          "http-echo", "-listen", ":${NOMAD_PORT_http}",
          "-text", "Update successful!\n\nHello and welcome to ${NOMAD_ADDR_http}",
        ]
      }

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
