//! The tree between the doors (HCL, JSON) and the job: blocks with typed fields, each knowing where it came from.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use model::driver_config::Value;

/// Where something stood in the input, for error messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Nowhere,
    /// Byte offsets into the job file.
    Span(Range<usize>),
    /// A path into a JSON document: `TaskGroups[0].Tasks[0].Driver`.
    Path(String),
}

/// One complaint about the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub place: Place,
    pub message: String,
}

impl Error {
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A value whose type the schema has already checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Str(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Duration(Duration),
    Strings(Vec<String>),
    Map(BTreeMap<String, String>),
    Lists(BTreeMap<String, Vec<String>>),
    Any(Value),
    Blocks(Vec<Block>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub place: Place,
    pub data: Data,
}

/// A block: its label, if it has one, and its fields by their name in job files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub label: Option<String>,
    pub place: Place,
    pub fields: BTreeMap<&'static str, Field>,
}

impl Block {
    pub fn at(place: Place) -> Self {
        Self { place, ..Self::default() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or("")
    }

    pub fn set(&mut self, name: &'static str, data: Data) {
        self.fields.insert(name, Field { place: self.place.clone(), data });
    }

    /// Set unless the list is empty, so that encoded jobs stay small.
    pub fn set_blocks(&mut self, name: &'static str, blocks: Vec<Self>) {
        if !blocks.is_empty() {
            self.set(name, Data::Blocks(blocks));
        }
    }

    /// An error at the field when it is there, else at the block.
    pub fn fail(&self, name: &str, message: impl Into<String>) -> Error {
        Error::new(self.fields.get(name).map_or(&self.place, |f| &f.place), message)
    }

    fn data(&self, name: &str) -> Option<&Data> {
        self.fields.get(name).map(|f| &f.data)
    }

    /// A text; an empty one counts as unset, as JSON clients send `""` for fields they leave alone.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.data(name) {
            Some(Data::Str(s)) if !s.is_empty() => Some(s),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> String {
        self.str(name).unwrap_or_default().to_owned()
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.data(name) {
            Some(Data::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.data(name) {
            Some(Data::Int(i)) => Some(*i),
            _ => None,
        }
    }

    /// A whole number that fits `T`.
    pub fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(n) = self.int(name) else { return Ok(None) };
        T::try_from(n).map(Some).map_err(|_| {
            let why = if n < 0 { "must not be negative" } else { "is too large" };
            self.fail(name, format!("\"{name}\" {why}: {n}"))
        })
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.data(name) {
            Some(Data::Duration(d)) => Some(*d),
            _ => None,
        }
    }

    pub fn strings(&self, name: &str) -> Vec<String> {
        match self.data(name) {
            Some(Data::Strings(s)) => s.clone(),
            _ => Vec::new(),
        }
    }

    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.data(name) {
            Some(Data::Map(m)) => m.clone(),
            _ => BTreeMap::new(),
        }
    }

    pub fn lists(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        match self.data(name) {
            Some(Data::Lists(m)) => m.clone(),
            _ => BTreeMap::new(),
        }
    }

    pub fn any(&self, name: &str) -> Option<&Value> {
        match self.data(name) {
            Some(Data::Any(v)) => Some(v),
            _ => None,
        }
    }

    pub fn blocks(&self, name: &str) -> &[Self] {
        match self.data(name) {
            Some(Data::Blocks(b)) => b,
            _ => &[],
        }
    }

    pub fn one(&self, name: &str) -> Option<&Self> {
        self.blocks(name).first()
    }

    /// The field of this block, or of the one it is laid over.
    pub fn over<'a>(over: Option<&'a Self>, under: Option<&'a Self>, name: &str) -> Option<&'a Self> {
        [over, under].into_iter().flatten().find(|b| b.has(name))
    }
}
