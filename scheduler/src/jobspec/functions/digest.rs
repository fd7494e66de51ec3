//! Digests and unique ids.

use md5::{Digest, Md5};
use model::driver_config::Value;
use sha1_smol::Sha1;
use sha2::{Sha256, Sha512};
use uuid::Uuid;

use super::{Answer, Args, Function};

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("md5", |a| of(a, |b| hex(&Md5::digest(b)))),
    ("sha1", |a| of(a, |b| Sha1::from(b).digest().to_string())),
    ("sha256", |a| of(a, |b| hex(&Sha256::digest(b)))),
    ("sha512", |a| of(a, |b| hex(&Sha512::digest(b)))),
    ("bcrypt", |a| Err(a.fail("hashing passwords is not built in; pass the hash in as a variable"))),
    ("rsadecrypt", |a| Err(a.fail("decrypting is not built in; pass the clear text in as a variable"))),
    ("uuidv4", |a| a.exactly::<0>().map(|_| Value::Str(Uuid::new_v4().to_string()))),
    ("uuidv5", uuidv5),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn of(a: &Args<'_>, f: impl Fn(&[u8]) -> String) -> Answer {
    let [s] = a.exactly()?;
    Ok(Value::Str(f(a.text(s)?.as_bytes())))
}

fn uuidv5(a: &Args<'_>) -> Answer {
    let [space, name] = a.exactly()?;
    let space = match a.text(space)?.as_str() {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => Uuid::parse_str(other)
            .map_err(|_| a.fail("the first argument is \"dns\", \"url\", \"oid\", \"x500\" or a UUID"))?,
    };
    Ok(Value::Str(Uuid::new_v5(&space, a.text(name)?.as_bytes()).to_string()))
}
