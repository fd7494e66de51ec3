# One web server that answers with a text, on a port chosen by us.
#
#   trine job run jobs/docker/echo-simple.hcl && curl localhost:8080
job "http-echo" {
  datacenters = ["dc1"]

  group "echo" {
    count = 1

    network {
      port "http" {
        static = 8080
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
