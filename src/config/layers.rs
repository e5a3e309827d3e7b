//! What the environment and the command line put over the file.
//!
//! `TIDEGATE_LEDGER__DURABILITY=batched` and `--set ledger.durability=batched` say the same. A listener is named by its name or
//! its number, an upstream by its name. Types come from the schema. Start at [`environment`] and [`set`].

use super::Complaint;
use super::file::{Node, Shape, Table, Value, below, join, shown_item, unknown};

/// What our variables begin with.
const PREFIX: &str = "TIDEGATE_";

/// Applies every variable that names a key.
///
/// A variable is taken for a setting if it has a `__` in it, or names a key of the top: a cluster that calls its service
/// `tidegate` sets `TIDEGATE_PORT` and its kin for its own reasons, and those must not stop us.
pub(super) fn environment<'e>(
    table: &mut Table,
    variables: impl Iterator<Item = (&'e String, &'e String)>,
    complaints: &mut Vec<Complaint>,
) {
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let segments: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if segments.len() == 1 && !matches!(below("", &rest.to_lowercase()), Some((_, Shape::Leaf))) {
            continue;
        }
        put(table, &segments, variable, value, complaints);
    }
}

/// Applies every `KEY=VALUE` of the command line.
pub(super) fn set(table: &mut Table, assignments: &[String], complaints: &mut Vec<Complaint>) {
    for assignment in assignments {
        let Some((path, value)) = assignment.split_once('=') else {
            let complaint = Complaint::new(format!("--set {assignment}"), assignment, "no value".into());
            complaints.push(complaint.help("write `--set KEY=VALUE`"));
            continue;
        };
        let path = path.trim();
        put(table, &segments(path), &format!("--set {path}"), value, complaints);
    }
}

/// Splits at dots, except between double quotes: names of upstreams may have dots in them.
fn segments(path: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut quoted = false;
    for char in path.chars() {
        match char {
            '"' => quoted = !quoted,
            '.' if !quoted => segments.push(String::new()),
            char => {
                if let Some(last) = segments.last_mut() {
                    last.push(char);
                }
            }
        }
    }
    segments
}

fn put(table: &mut Table, segments: &[String], place: &str, value: &str, complaints: &mut Vec<Complaint>) {
    let node = Node { place: place.into(), key_place: place.into(), value: Value::Raw(value.into()) };
    if let Err(complaint) = put_below(table, "", "", segments, node) {
        complaints.push(complaint);
    }
}

/// Walks down by the schema, making the tables that are not there.
fn put_below(table: &mut Table, path: &str, shown: &str, segments: &[String], node: Node) -> Result<(), Complaint> {
    let place = node.place.clone();
    let Some((name, rest)) = segments.split_first() else {
        return Err(Complaint::new(place, shown, "is a table: name a key of it".into()));
    };
    let shown_below = join(shown, name);
    let (below, shape) = below(path, name).ok_or_else(|| unknown(&place, path, &shown_below, name))?;
    if shape == Shape::Leaf {
        if let Some(more) = rest.first() {
            return Err(unknown(&place, &below, &join(&shown_below, more), more));
        }
        table.insert(name.clone(), node);
        return Ok(());
    }
    let empty = || Node {
        place: place.clone(),
        key_place: place.clone(),
        value: if shape == Shape::Tables { Value::List(Vec::new()) } else { Value::Table(Table::new()) },
    };
    let entry = table.entry(name.clone()).or_insert_with(empty);
    match (shape, &mut entry.value) {
        (Shape::Table, Value::Table(table)) => put_below(table, &below, &shown_below, rest, node),
        (Shape::Names, Value::Table(names)) => {
            let Some((chosen, rest)) = rest.split_first() else {
                return Err(Complaint::new(place, &shown_below, "is a table: name a key of it".into()));
            };
            let known = names.keys().find(|known| same_name(known, chosen)).cloned();
            let chosen = known.unwrap_or_else(|| chosen.clone());
            let shown_below = join(&shown_below, &chosen);
            match &mut names.entry(chosen).or_insert_with(empty).value {
                Value::Table(table) => put_below(table, &format!("{below}.*"), &shown_below, rest, node),
                // Not a table in the file: the checker says so there.
                _ => Ok(()),
            }
        }
        (Shape::Tables, Value::List(items)) => {
            let Some((chosen, rest)) = rest.split_first() else {
                return Err(Complaint::new(place, &shown_below, "is a list: name one of it and a key".into()));
            };
            let found = items.iter_mut().enumerate().find(|(index, item)| {
                let by_name = shown_item("", *index, item);
                by_name.strip_prefix('.').is_some_and(|known| same_name(known, chosen)) || index.to_string() == *chosen
            });
            match found {
                Some((_, Node { value: Value::Table(table), .. })) => {
                    put_below(table, &format!("{below}[]"), &join(&shown_below, chosen), rest, node)
                }
                Some(_) => Ok(()),
                None => Err(Complaint::new(
                    place,
                    &join(&shown_below, chosen),
                    format!("no {name} of this name in the file"),
                )),
            }
        }
        _ => Ok(()),
    }
}

/// A variable cannot spell every name: case, `-` and `.` do not count.
fn same_name(known: &str, chosen: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    known == chosen || plain(known) == plain(chosen)
}
