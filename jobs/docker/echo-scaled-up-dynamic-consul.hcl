# The same five, now with a name: the service block puts every healthy instance into the catalog and DNS, and the tag
# makes the load balancer send /http-echo to them.
#
#   dig @127.0.0.1 -p 8600 http-echo.service.consul SRV
#   curl localhost:9999/http-echo
job "http-echo" {
  datacenters = ["dc1"]

  group "echo" {
    count = 5

    update {
      max_parallel     = 5
      min_healthy_time = "500ms"
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
      driver = "docker"

      config {
        image = "hashicorp/http-echo:latest"
        ports = ["http"]
        args  = ["-listen", ":${NOMAD_PORT_http}", "-text", "Hello and welcome to ${NOMAD_ADDR_http}"]
      }

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
