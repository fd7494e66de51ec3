//! The flags every command that talks to an agent shares, and turning a short id into a whole one.

use anyhow::{bail, ensure};
use serde_json::Value;

use super::{client::Client, render};

/// Where the agent is and how to print. Environment variables give the defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connection {
    /// Address of the agent's HTTP API
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// Namespace of jobs
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// Token to send
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Print without colour
    #[arg(long, global = true)]
    no_color: bool,
}

impl Connection {
    /// The scheduler's API.
    pub fn scheduler(&self) -> anyhow::Result<Client> {
        let client = self.prepared(Client::scheduler(self.address.as_deref())?)?;
        Ok(match &self.namespace {
            Some(namespace) => client.with_default("namespace", namespace.clone()),
            None => client,
        })
    }

    /// The catalog's API.
    pub fn catalog(&self) -> anyhow::Result<Client> {
        self.prepared(Client::catalog(self.address.as_deref())?)
    }

    /// The load balancer's admin API.
    pub fn balancer(&self) -> anyhow::Result<Client> {
        self.prepared(Client::balancer(self.address.as_deref())?)
    }

    fn prepared(&self, client: Client) -> anyhow::Result<Client> {
        if self.no_color {
            render::without_colour();
        }
        Ok(match &self.token {
            Some(token) => client.with_token(token)?,
            None => client,
        })
    }
}

/// Things with ids that may be shortened.
#[derive(Clone, Copy, Debug)]
pub enum Noun {
    Alloc,
    Node,
    Deployment,
    Eval,
}

impl Noun {
    const fn list(self) -> &'static str {
        match self {
            Self::Alloc => "/v1/allocations",
            Self::Node => "/v1/nodes",
            Self::Deployment => "/v1/deployments",
            Self::Eval => "/v1/evaluations",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Alloc => "allocation",
            Self::Node => "node",
            Self::Deployment => "deployment",
            Self::Eval => "evaluation",
        }
    }

    const fn see(self) -> &'static str {
        match self {
            Self::Alloc => "trine job status JOB",
            Self::Node => "trine node status",
            Self::Deployment => "trine deployment list",
            Self::Eval => "trine eval list",
        }
    }
}

/// The whole id that begins with `prefix` (at least two hex digits; dashes do not matter).
pub async fn whole_id(client: &Client, noun: Noun, prefix: &str) -> anyhow::Result<String> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    ensure!(
        digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_hexdigit()),
        "{prefix:?} is not an id: give at least two hex digits of one, see `{}`",
        noun.see()
    );
    let all: Vec<Value> = client.get(noun.list()).await?;
    let plain = |v: &Value| render::text(v, "ID").replace('-', "");
    let found: Vec<_> = all.iter().filter(|v| plain(v).starts_with(&digits.to_lowercase())).collect();
    match found.as_slice() {
        [] => bail!("no {} has an id that begins with {prefix:?}; see `{}`", noun.word(), noun.see()),
        [one] => Ok(render::text(one, "ID")),
        many => {
            let ids: Vec<_> = many.iter().take(10).map(|v| render::text(v, "ID")).collect();
            bail!("{} {}s begin with {prefix:?}; give more digits:\n  {}", many.len(), noun.word(), ids.join("\n  "))
        }
    }
}
