# The project's commands. CI calls the same ones: see .ci/run.

# One agent, all roles, nothing to configure.
dev:
    cargo run --release -- agent -dev

# README's first command.
walkthrough *ARGS:
    cargo run --release -- walkthrough {{ARGS}}

# Type-check one crate while working on it.
check CRATE:
    cargo check -p {{CRATE}}

# All tests, or those of one crate.
test *ARGS:
    cargo test {{ if ARGS == "" { "--workspace" } else { "-p " + ARGS } }}

# Read-only; what CI runs.
verify:
    bash .ci/run

# Format and apply machine-made suggestions.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty
    cargo fmt --all

# Figures of docs/benchmarks.md.
bench:
    cargo run --release -p scheduler --example bench_propose
    cargo run --release -p scheduler --example bench_place
    cargo run --release -p tests --bin bench-agent
