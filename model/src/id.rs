//! Identifiers: one newtype per thing that can be named, parsed once at the edge.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The first eight hex digits, as every table shows ids.
            #[must_use]
            pub fn short(&self) -> String {
                self.0.simple().to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Arc<str>);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(s: &str) -> Self {
                Self(s.into())
            }
        }

        impl From<String> for $name {
            fn from(s: String) -> Self {
                Self(s.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

uuid_id!(
    /// One placement of a task group on a node.
    AllocId
);
uuid_id!(
    /// One request to the scheduler to look at a job or a node.
    EvalId
);
uuid_id!(
    /// One roll-out of a job version.
    DeploymentId
);
uuid_id!(
    /// A machine that runs allocations.
    NodeId
);
uuid_id!(
    /// A session that holds locks in the key-value store.
    SessionId
);
uuid_id!(
    /// One running load balancer; it acknowledges that it has let go of leaving instances.
    LbId
);

name_id!(
    /// A namespace of jobs.
    Namespace
);
name_id!(
    /// A job's id as the user wrote it; may contain `/`.
    JobId
);
name_id!(
    /// A task group's name, unique in its job.
    GroupName
);
name_id!(
    /// A task's name, unique in its group.
    TaskName
);
name_id!(
    /// A service's name in the catalog.
    ServiceName
);
name_id!(
    /// A service instance's id, unique on its catalog node.
    InstanceId
);
name_id!(
    /// A node's name in the catalog.
    NodeName
);
name_id!(
    /// A check's id, unique on its catalog node.
    CheckId
);

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}

/// A position in the replicated log; what `X-Nomad-Index` and `X-Consul-Index` carry. Starts at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
