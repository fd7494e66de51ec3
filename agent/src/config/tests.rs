//! Files, environment and flags as people write them, rightly and wrongly.

use super::*;

fn file(text: &str, json: bool) -> Result<Config, Error> {
    let mut config = Config::default();
    keys::apply(&mut config, &tree::parse(if json { "a.json" } else { "a.hcl" }, text, json)?)?;
    Ok(config)
}

fn error(text: &str) -> String {
    file(text, false).unwrap_err().to_string()
}

#[test]
fn every_block_is_read() {
    let text = r#"
        region = "eu"  datacenter = "dc2"
        name = "n1"
    "#;
    assert!(file(text, false).is_err(), "two attributes on one line");
    let text = r#"
        datacenter = "dc2"
        data_dir   = "/var/lib/trine"
        bind_addr  = "::1"
        ports { http = 0 }
        server { enabled = true }
        client {
          enabled    = true
          servers    = ["a:1"]
          node_class = "big"
          meta { rack = "r1" }
          meta2 = 1
        }
    "#;
    assert!(
        error(text).contains("a.hcl:12:11: unknown key `meta2` in `client`; did you mean `meta`?"),
        "{}",
        error(text)
    );
    let config = file(
        r#"
        datacenter = "dc2"
        ports { http = 0 }
        client {
          enabled = true
          meta { rack = "r1", n = 2 }
          reserved { cpu = 500, reserved_ports = "22,8000-8002" }
          host_volume "data" { path = "/srv" }
          options = { "driver.raw_exec.enable" = "1" }
        }
        plugin "docker" {
          config {
            endpoint = "unix:///x"
            volumes { enabled = true }
          }
        }
        plugin "mock_driver" {
          config { enabled = true }
        }
        lb { strategy = "rnd" }
    "#
        .replace(", n = 2", "")
        .replace("cpu = 500, reserved_ports", "reserved_ports")
        .as_str(),
        false,
    )
    .unwrap();
    assert_eq!((config.datacenter.as_str(), config.ports.http, config.ports.rpc), ("dc2", 0, 4647));
    assert_eq!(config.client.meta["rack"], "r1");
    assert_eq!(config.client.reserved.ports, [22, 8000, 8001, 8002]);
    assert!(config.client.host_volumes.contains_key("data"));
    assert!(config.drivers.raw_exec && config.drivers.mock && config.drivers.docker.volumes);
    assert_eq!(config.drivers.docker.endpoint, "unix:///x");
    assert_eq!(config.lb.strategy, Strategy::Random);
}

#[test]
fn json_says_the_same() {
    let text = r#"{"datacenter": "dc2", "plugin": [{"docker": [{"config": {"enabled": false}}]}], "server": {"enabled": true}}"#;
    let config = file(text, true).unwrap();
    assert!(config.server.enabled && !config.drivers.docker.enabled);
    let wrong = file("{\n  \"datacentre\": \"x\"\n}", true).unwrap_err().to_string();
    assert!(wrong.contains("a.json:2:3: unknown key `datacentre`") && wrong.contains("`datacenter`"), "{wrong}");
    let broken = file("{\"a\": }", true).unwrap_err().to_string();
    assert!(broken.contains("a.json:1:") && broken.contains("not JSON"), "{broken}");
}

#[test]
fn wrong_values_name_their_place() {
    assert!(error("ports { http = 65536 }").contains("`ports.http` is 65536, but must be from 0 to 65535"));
    assert!(error("ports { http = \"web\" }").contains("is a whole number, not a string"));
    assert!(error("bind_addr = \"localhost\"").contains("a.hcl:1:13"));
    assert!(error("server = 3").contains("`server` is a block, not a number"));
    assert!(error("server { enabled = maybe }").contains("no variables"));
    let twice = error("name = \"a\"\nname = \"b\"");
    assert!(twice.contains("a.hcl:2:1: syntax error") && twice.contains("redefined"), "{twice}");
    let twice = error("lb {\n}\nlb {\n}");
    assert!(twice.contains("a.hcl:3:1: `lb` was already given at 1:1"), "{twice}");
    assert!(error("server {").contains("syntax error"));
    assert!(error("plugin \"dokcer\" {}").contains("no plugin \"dokcer\""));
    assert!(error("tls { http = true }").contains("not built yet"));
    assert!(error("acl { enabled = true }").contains("not built yet"));
    let both = error("nmae = \"a\"\nregoin = \"b\"");
    assert!(both.contains("`name`") && both.contains("`region`"), "{both}");
}

#[test]
fn the_whole_must_fit_together() {
    let wrong = |change: fn(&mut Config)| {
        let mut config = Config::dev();
        config.validate().unwrap();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(wrong(|c| c.bind_addr = [0, 0, 0, 0].into()).contains("insecure"));
    assert!(wrong(|c| c.ports.catalog = 4646).contains("both 4646"));
    assert!(wrong(|c| c.server.bootstrap_expect = 3).contains("not built"));
    assert!(wrong(|c| c.dev = false).contains("data_dir"));
    assert!(wrong(|c| c.name = "a b".into()).contains("name"));
    assert!(wrong(|c| c.log_level = "loud".into()).contains("loud"));
    assert!(wrong(|c| c.server.enabled = false).contains("-servers"));
    assert!(wrong(|c| c.client.servers = vec!["host".into()]).contains("host:port"));
    let idle = Config::default().validate().unwrap_err().to_string();
    assert!(idle.contains("no role is on") && idle.contains("-dev"), "{idle}");
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("1.hcl"), "name = \"one\"\nregion = \"r1\"\ndatacenter = \"d1\"").unwrap();
    std::fs::write(dir.path().join("2.json"), "{\"name\": \"two\"}").unwrap();
    std::fs::write(dir.path().join("README"), "not a configuration").unwrap();
    let flags = Flags { dev: true, datacenter: Some("flag".into()), ports: vec!["http=0".into()], ..Flags::default() };
    let environment = |name: &str| (name == "TRINE_REGION" || name == "TRINE_DATACENTER").then(|| "env".to_owned());
    let config = load(&[dir.path().to_owned()], environment, &flags).unwrap();
    assert_eq!((config.name.as_str(), config.region.as_str(), config.datacenter.as_str()), ("two", "env", "flag"));
    assert_eq!(config.ports.http, 0);
}

#[test]
fn what_cannot_be_read_says_so() {
    let none = |_: &str| None;
    let missing = load(&["/no/such.hcl".into()], none, &Flags::default()).unwrap_err().to_string();
    assert!(missing.contains("/no/such.hcl") && missing.contains("-config"), "{missing}");
    let port = load(&[], none, &Flags { dev: true, ports: vec!["htpp=1".into()], ..Flags::default() });
    assert!(port.unwrap_err().to_string().contains("did you mean http?"));
    let env = load(&[], |n| (n == "TRINE_PORT_HTTP").then(|| "x".into()), &Flags { dev: true, ..Flags::default() });
    assert!(env.unwrap_err().to_string().contains("TRINE_PORT_HTTP"));
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.hcl");
    std::fs::write(&large, " ".repeat(2 << 20)).unwrap();
    assert!(load(&[large], none, &Flags::default()).unwrap_err().to_string().contains("1 MiB"));
}
