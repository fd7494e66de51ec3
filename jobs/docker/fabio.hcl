# The load balancer as a job, one per node, for agents that leave it out: lb { enabled = false }. The image
# learns its routes from the agent on the same host; `examples/http-echo/build.sh fabiolb/fabio` builds one from Trine.
job "fabio" {
  datacenters = ["dc1"]
  type        = "system"

  group "fabio" {
    network {
      port "lb" {
        static = 9999
      }
      port "ui" {
        static = 9998
      }
    }

    task "fabio" {
      driver = "docker"

      config {
        image        = "fabiolb/fabio"
        network_mode = "host"
        ports        = ["lb", "ui"]
      }

      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
}
