//! The tables: which fields each block of a job has, their types, their names in job files and in the API.
//!
//! A name starting with `@` exists in JSON only; an empty API name exists in job files only.

mod group;
mod job;
mod service;
mod task;

pub use group::{GROUP, NETWORK};
pub use job::JOB;
pub use service::{CHECK, SERVICE};
pub use task::{RESOURCES, TASK};

/// A kind of block.
#[derive(Debug)]
pub struct Schema {
    pub name: &'static str,
    pub label: Label,
    pub fields: &'static [FieldSpec],
}

/// Whether a block carries a label, and what the API calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    None,
    Required(&'static str),
    Optional(&'static str),
}

/// One attribute or child block.
#[derive(Debug)]
pub struct FieldSpec {
    pub hcl: &'static str,
    pub api: &'static str,
    pub ty: Ty,
    pub role: Role,
}

#[derive(Clone, Copy, Debug)]
pub enum Ty {
    Str,
    Int,
    Bool,
    Duration,
    Strings,
    /// Text to text; a block or an object in job files.
    Map,
    /// Text to list of texts (HTTP headers).
    Lists,
    /// Anything: an object or a block whose shape is not known here.
    Any,
    One(&'static Schema),
    Many(&'static Schema),
    /// Many in job files, an object keyed by label in the API.
    Keyed(&'static Schema),
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trine acts on it.
    Acts,
    /// Kept for round trips; leaving it out changes nothing.
    Kept,
    /// Kept; the text says what does not happen.
    Warned(&'static str),
    /// Kept; registering is refused, and the text says what to do instead.
    Refused(&'static str),
}

impl FieldSpec {
    const fn new(hcl: &'static str, api: &'static str, ty: Ty) -> Self {
        Self { hcl, api, ty, role: Role::Acts }
    }

    const fn kept(mut self) -> Self {
        self.role = Role::Kept;
        self
    }

    const fn warned(mut self, why: &'static str) -> Self {
        self.role = Role::Warned(why);
        self
    }

    const fn refused(mut self, instead: &'static str) -> Self {
        self.role = Role::Refused(instead);
        self
    }

    /// The schema of the child block, if this field is one.
    pub const fn child(&self) -> Option<&'static Schema> {
        match self.ty {
            Ty::One(s) | Ty::Many(s) | Ty::Keyed(s) => Some(s),
            _ => None,
        }
    }

    /// Whether a job file may write it as a block.
    pub const fn is_block(&self) -> bool {
        matches!(self.ty, Ty::One(_) | Ty::Many(_) | Ty::Keyed(_) | Ty::Map | Ty::Lists | Ty::Any)
    }
}

impl Schema {
    pub fn field(&self, hcl: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|f| f.hcl == hcl)
    }

    /// Names a job file may use here.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.fields.iter().map(|f| f.hcl).filter(|n| !n.starts_with('@'))
    }
}

/// Every block name that may hold a field called `name`: for "belongs into …" hints.
pub fn homes(name: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    visit(&JOB, &mut |s| {
        if s.field(name).is_some() && !found.contains(&s.name) {
            found.push(s.name);
        }
    });
    found
}

/// The role of an inert block or attribute by its name.
pub fn inert_role(kind: &str) -> Role {
    let mut role = Role::Kept;
    visit(&JOB, &mut |s| {
        if let Some(f) = s.field(kind).filter(|f| f.role != Role::Acts) {
            role = f.role;
        }
    });
    role
}

/// Every schema below `root`, each once per parent; the tables have no cycles.
fn visit(root: &'static Schema, f: &mut dyn FnMut(&'static Schema)) {
    f(root);
    for child in root.fields.iter().filter_map(FieldSpec::child) {
        visit(child, f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_in_each_block() {
        visit(&JOB, &mut |s| {
            for (i, f) in s.fields.iter().enumerate() {
                assert!(!s.fields[..i].iter().any(|g| g.hcl == f.hcl), "{} twice in {}", f.hcl, s.name);
                assert!(
                    f.api.is_empty() || !s.fields[..i].iter().any(|g| g.api == f.api),
                    "{} twice in {}",
                    f.api,
                    s.name
                );
            }
        });
    }

    #[test]
    fn homes_of_a_misplaced_name() {
        assert_eq!(homes("count"), ["group", "device"]);
        assert!(matches!(inert_role("template"), Role::Refused(_)));
    }
}
