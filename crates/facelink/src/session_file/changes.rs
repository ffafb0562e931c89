//! What differs between two files, field by field.

use serde_json::Value;

use super::SessionFile;

/// The fields in which `after` differs from `before`, such as `network.port: 8765 -> 9000` or `avatars[left]: added`.
/// Entries of lists are told apart by their name, file or place.
pub fn changes(before: &SessionFile, after: &SessionFile) -> Vec<String> {
    let value = |file: &SessionFile| serde_json::to_value(file).unwrap_or_default();
    let mut found = Vec::new();
    compare(String::new(), &value(before), &value(after), &mut found);
    found
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// What an entry of a list is called.
fn title(entry: &Value, index: usize) -> String {
    let named =
        ["name", "file", "subject", "url", "to", "address"].iter().find_map(|field| entry.get(*field)?.as_str());
    named.map_or_else(|| index.to_string(), str::to_owned)
}

/// A value as a file has it: single-precision numbers with the digits that they need, lists of numbers as tuples.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:?}", number.as_f64().unwrap_or_default() as f32),
        Value::Array(list) => format!("({})", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
        _ => value.to_string(),
    }
}

fn compare(path: String, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (field, value) in old {
                compare(join(&path, field), value, new.get(field).unwrap_or(&Value::Null), found);
            }
            for (field, value) in new.iter().filter(|(field, _)| !old.contains_key(*field)) {
                compare(join(&path, field), &Value::Null, value, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.iter().chain(new).any(Value::is_object) => {
            let titled = |list: &[Value]| -> Vec<(String, Value)> {
                list.iter().enumerate().map(|(index, entry)| (title(entry, index), entry.clone())).collect()
            };
            let (old, new) = (titled(old), titled(new));
            for (name, entry) in &old {
                match new.iter().find(|(other, _)| other == name) {
                    Some((_, other)) => compare(format!("{path}[{name}]"), entry, other, found),
                    None => found.push(format!("{path}[{name}]: removed")),
                }
            }
            for (name, _) in new.iter().filter(|(name, _)| !old.iter().any(|(other, _)| other == name)) {
                found.push(format!("{path}[{name}]: added"));
            }
        }
        (Value::Array(list), Value::Null) | (Value::Null, Value::Array(list)) if list.iter().any(Value::is_object) => {
            let word = if after.is_null() { "removed" } else { "added" };
            found.extend(
                list.iter().enumerate().map(|(index, entry)| format!("{path}[{}]: {word}", title(entry, index))),
            );
        }
        (before, after) if before == after => {}
        (_, Value::Null) => found.push(format!("{path}: {} -> default", shown(before))),
        (Value::Null, _) => found.push(format!("{path}: default -> {}", shown(after))),
        _ => found.push(format!("{path}: {} -> {}", shown(before), shown(after))),
    }
}
