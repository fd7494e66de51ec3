# Five of them. Ports can no longer be ours to choose: each instance gets a free one, and learns it from NOMAD_PORT_http.
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

    task "server" {
      driver = "raw_exec"

      config {
        command = "trine"
        args    = ["http-echo", "-listen", ":${NOMAD_PORT_http}", "-text", "Hello and welcome to ${NOMAD_ADDR_http}"]
      }

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
