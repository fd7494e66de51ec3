//! End to end, on the real binary: the walkthrough, crashes, deploys under load, the user's own files, bad input.

mod bad_input;
mod browser;
mod crashes;
mod deploys;
mod user_files;
mod walkthrough;

/// The binary under test.
const TRINE: &str = env!("CARGO_BIN_EXE_trine-node");

/// An http-echo job with `count` instances behind the load balancer; `text` tells versions apart.
fn echo_job(count: u32, text: &str) -> String {
    format!(
        r#"job "echo" {{
  datacenters = ["dc1"]
  group "echo" {{
    count = {count}
    update {{
      canary           = 1
      max_parallel     = 5
      auto_promote     = true
      min_healthy_time = "100ms"
    }}
    network {{
      port "http" {{}}
    }}
    service {{
      name = "echo"
      port = "http"
      tags = ["urlprefix-/echo"]
      check {{
        type     = "http"
        path     = "/health"
        interval = "2s"
        timeout  = "2s"
      }}
    }}
    task "server" {{
      driver = "raw_exec"
      config {{
        command = "trine"
        args    = ["http-echo", "-listen", ":${{NOMAD_PORT_http}}", "-text", "{text} ${{NOMAD_ALLOC_ID}}"]
      }}
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}
