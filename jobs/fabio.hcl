# The load balancer as a job, one per node, for agents that leave it out: lb { enabled = false }. It is the same program
# with only the lb role, and learns its routes from the agent on the same host.
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
      driver = "raw_exec"

      config {
        command = "trine"
        args = [
          "agent", "-lb",
          "-servers", "127.0.0.1:4647",
          "-node", "fabio-${node.unique.name}",
          "-port", "lb=${NOMAD_PORT_lb}",
          "-port", "lb_admin=${NOMAD_PORT_ui}",
          "-port", "http=0",
        ]
      }

      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
}
