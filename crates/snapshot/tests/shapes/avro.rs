//! Avro's binary form written and read by hand, so that no library and no schema of the crate stands between a tree and
//! the bytes in it. Records are JSON objects; bytes are lists of numbers.

use serde_json::{Map, Value, json};

/// What separates the blocks of an object container; any sixteen bytes do.
const SYNC: &[u8; 16] = b"between-blocks!!";

/// A type of Avro, as far as Milvus uses them.
#[derive(Debug)]
pub(crate) enum Kind {
    Long,
    Int,
    Boolean,
    Text,
    Bytes,
    Many(&'static Kind),
    Map(&'static Kind),
    Record(&'static str, &'static [Field]),
}

/// A field of a record, with the first version of the format that has it.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) since: u8,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

pub(crate) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { since: 1, name, kind }
}

pub(crate) const fn field_since(since: u8, name: &'static str, kind: Kind) -> Field {
    Field { since, name, kind }
}

impl Kind {
    /// The schema in JSON, as an object container carries it.
    fn schema(&self, version: u8) -> Value {
        match self {
            Self::Long => json!("long"),
            Self::Int => json!("int"),
            Self::Boolean => json!("boolean"),
            Self::Text => json!("string"),
            Self::Bytes => json!("bytes"),
            Self::Many(items) => json!({"type": "array", "items": items.schema(version)}),
            Self::Map(values) => json!({"type": "map", "values": values.schema(version)}),
            Self::Record(name, fields) => {
                let of_version = fields.iter().filter(|field| field.since <= version);
                let fields: Vec<Value> =
                    of_version.map(|field| json!({"name": field.name, "type": field.kind.schema(version)})).collect();
                json!({"type": "record", "name": name, "fields": fields})
            }
        }
    }

    /// A datum without any header.
    pub(crate) fn encode(&self, version: u8, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(version, value, &mut out);
        out
    }

    fn write(&self, version: u8, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::Long | Self::Int => write_long(value.as_i64().unwrap_or_else(|| panic!("no number: {value}")), out),
            Self::Boolean => out.push(u8::from(value.as_bool().unwrap())),
            Self::Text => write_bytes(value.as_str().unwrap_or_else(|| panic!("no text: {value}")).as_bytes(), out),
            Self::Bytes => {
                let bytes = value.as_array().unwrap().iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap());
                write_bytes(&bytes.collect::<Vec<u8>>(), out);
            }
            Self::Many(kind) => {
                let items = value.as_array().unwrap();
                write_block(items.len(), out, |out| items.iter().for_each(|item| kind.write(version, item, out)));
            }
            Self::Map(kind) => {
                let entries = value.as_object().unwrap();
                write_block(entries.len(), out, |out| {
                    for (name, value) in entries {
                        write_bytes(name.as_bytes(), out);
                        kind.write(version, value, out);
                    }
                });
            }
            Self::Record(name, fields) => {
                for field in fields.iter().filter(|field| field.since <= version) {
                    let value = value.get(field.name).unwrap_or_else(|| panic!("{name} lacks {}", field.name));
                    field.kind.write(version, value, out);
                }
            }
        }
    }

    /// The one datum that `content` is, or what is wrong with it.
    pub(crate) fn decode(&self, version: u8, content: &[u8]) -> Result<Value, String> {
        let mut rest = content;
        let value = self.read(version, &mut rest)?;
        if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", rest.len())) }
    }

    fn read(&self, version: u8, rest: &mut &[u8]) -> Result<Value, String> {
        Ok(match self {
            Self::Long | Self::Int => json!(read_long(rest)?),
            Self::Boolean => match take(rest, 1)? {
                [0] => json!(false),
                [1] => json!(true),
                other => return Err(format!("{other:?} is no boolean")),
            },
            Self::Text => json!(read_text(rest)?),
            Self::Bytes => json!(read_bytes(rest)?),
            Self::Many(kind) => {
                let mut items = Vec::new();
                read_blocks(rest, |rest| {
                    items.push(kind.read(version, rest)?);
                    Ok(())
                })?;
                Value::Array(items)
            }
            Self::Map(kind) => {
                let mut entries = Map::new();
                read_blocks(rest, |rest| {
                    entries.insert(read_text(rest)?, kind.read(version, rest)?);
                    Ok(())
                })?;
                Value::Object(entries)
            }
            Self::Record(name, fields) => {
                let mut record = Map::new();
                for field in fields.iter().filter(|field| field.since <= version) {
                    let value = field.kind.read(version, rest);
                    record.insert(
                        field.name.to_owned(),
                        value.map_err(|error| format!("{name}.{}: {error}", field.name))?,
                    );
                }
                Value::Object(record)
            }
        })
    }

    /// An object container of one record, with the schema inside and nothing compressed.
    pub(crate) fn container(&self, version: u8, value: &Value) -> Vec<u8> {
        let mut out = b"Obj\x01".to_vec();
        write_block(2, &mut out, |out| {
            for (name, value) in [("avro.schema", self.schema(version).to_string()), ("avro.codec", "null".to_owned())]
            {
                write_bytes(name.as_bytes(), out);
                write_bytes(value.as_bytes(), out);
            }
        });
        out.extend_from_slice(SYNC);
        write_long(1, &mut out);
        write_bytes(&self.encode(version, value), &mut out);
        out.extend_from_slice(SYNC);
        out
    }
}

/// The one datum of a container that is not compressed, still encoded.
pub(crate) fn in_container(content: &[u8]) -> Result<&[u8], String> {
    let mut rest = content.strip_prefix(b"Obj\x01").ok_or("it is no object container")?;
    read_blocks(&mut rest, |rest| read_bytes(rest).and_then(|_| read_bytes(rest)).map(drop))?;
    take(&mut rest, SYNC.len())?;
    match read_long(&mut rest)? {
        1 => read_bytes(&mut rest),
        count => Err(format!("it has {count} records")),
    }
}

/// Zigzag, then seven bits a byte.
fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(i64::try_from(bytes.len()).unwrap(), out);
    out.extend_from_slice(bytes);
}

fn write_block(count: usize, out: &mut Vec<u8>, items: impl FnOnce(&mut Vec<u8>)) {
    if count > 0 {
        write_long(i64::try_from(count).unwrap(), out);
        items(out);
    }
    write_long(0, out);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (head, tail) =
        rest.split_at_checked(count).ok_or_else(|| format!("{count} bytes wanted, {} left", rest.len()))?;
    *rest = tail;
    Ok(head)
}

fn read_long(rest: &mut &[u8]) -> Result<i64, String> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err("a number has more than ten bytes".to_owned())
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = read_long(rest)?;
    take(rest, usize::try_from(length).map_err(|_| format!("{length} is no length"))?)
}

fn read_text(rest: &mut &[u8]) -> Result<String, String> {
    String::from_utf8(read_bytes(rest)?.to_vec()).map_err(|error| error.to_string())
}

/// Blocks until the empty one; a negative count is followed by the block's size.
fn read_blocks(rest: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Result<(), String>) -> Result<(), String> {
    loop {
        let count = read_long(rest)?;
        if count < 0 {
            read_long(rest)?;
        }
        if count == 0 {
            return Ok(());
        }
        (0..count.unsigned_abs()).try_for_each(|_| item(rest))?;
    }
}
