//! RFC 9535 read slowly and plainly: lists of nodes over `Value`, by recursion, from the library's own tree of the path.
//!
//! It shares no line with the evaluator it judges, and not its parser's front either. Numbers are small, so floats do.

use std::cmp::Ordering;

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, SingularQuery,
    SingularQuerySegment, Test, TestFunction,
};
use serde_json::Value;

/// A node: its normalised path and its value.
pub(crate) type Node<'a> = (String, &'a Value);

/// The list of nodes that a query selects, in the RFC's order and with its repetitions.
pub(crate) fn query<'a>(query: &JpQuery, root: &'a Value) -> Vec<Node<'a>> {
    segments(&query.segments, root, ("$".to_owned(), root))
}

fn segments<'a>(all: &[Segment], root: &'a Value, from: Node<'a>) -> Vec<Node<'a>> {
    all.iter().fold(vec![from], |nodes, one| nodes.into_iter().flat_map(|node| segment(one, root, node)).collect())
}

fn segment<'a>(segment_: &Segment, root: &'a Value, node: Node<'a>) -> Vec<Node<'a>> {
    match segment_ {
        Segment::Descendant(inner) => {
            let mut found = segment(inner, root, node.clone());
            for child in children(&node) {
                found.extend(segment(segment_, root, child));
            }
            found
        }
        Segment::Selector(one) => selector(one, root, &node),
        Segment::Selectors(all) => all.iter().flat_map(|one| selector(one, root, &node)).collect(),
    }
}

fn children<'a>((path, value): &Node<'a>) -> Vec<Node<'a>> {
    match value {
        Value::Array(all) => all.iter().enumerate().map(|(i, v)| (format!("{path}[{i}]"), v)).collect(),
        Value::Object(all) => all.iter().map(|(name, v)| (format!("{path}['{name}']"), v)).collect(),
        _ => vec![],
    }
}

fn selector<'a>(selector: &Selector, root: &'a Value, node: &Node<'a>) -> Vec<Node<'a>> {
    let at = |index: i64| -> Option<Node<'a>> {
        let all = node.1.as_array()?;
        let index = if index < 0 { index + i64::try_from(all.len()).unwrap() } else { index };
        let index = usize::try_from(index).ok()?;
        Some((format!("{}[{index}]", node.0), all.get(index)?))
    };
    match selector {
        Selector::Name(name) => match node.1.as_object().and_then(|all| all.get(name)) {
            Some(value) => vec![(format!("{}['{name}']", node.0), value)],
            None => vec![],
        },
        Selector::Wildcard => children(node),
        Selector::Index(index) => at(*index).into_iter().collect(),
        Selector::Slice(start, end, step) => {
            let Some(all) = node.1.as_array() else { return vec![] };
            let (len, step) = (i64::try_from(all.len()).unwrap(), step.unwrap_or(1));
            let normal = |i: i64| if i >= 0 { i } else { len + i };
            let mut picked = vec![];
            if step > 0 {
                let (mut i, upper) =
                    (normal(start.unwrap_or(0)).clamp(0, len), normal(end.unwrap_or(len)).clamp(0, len));
                while i < upper {
                    picked.extend(at(i));
                    i += step;
                }
            } else if step < 0 {
                let mut i = normal(start.unwrap_or(len - 1)).clamp(-1, len - 1);
                let lower = normal(end.unwrap_or(-len - 1)).clamp(-1, len - 1);
                while lower < i {
                    picked.extend(at(i));
                    i += step;
                }
            }
            picked
        }
        Selector::Filter(filter) => {
            children(node).into_iter().filter(|(_, value)| holds(filter, root, value)).collect()
        }
    }
}

fn holds(filter: &Filter, root: &Value, at: &Value) -> bool {
    match filter {
        Filter::Or(all) => all.iter().any(|one| holds(one, root, at)),
        Filter::And(all) => all.iter().all(|one| holds(one, root, at)),
        Filter::Atom(FilterAtom::Filter { expr, not }) => holds(expr, root, at) != *not,
        Filter::Atom(FilterAtom::Test { expr, not }) => {
            let holds = match &**expr {
                Test::Function(function) => match &**function {
                    TestFunction::Match(text, pattern) => matches(text, pattern, true, root, at),
                    TestFunction::Search(text, pattern) => matches(text, pattern, false, root, at),
                    other => panic!("no test: {other}"),
                },
                query => !nodes(query, root, at).is_empty(),
            };
            holds != *not
        }
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = comparison.vals();
            let (left, right) = (comparable(left, root, at), comparable(right, root, at));
            let (less, equal) = (less(left.as_ref(), right.as_ref()), equal(left.as_ref(), right.as_ref()));
            match &**comparison {
                Comparison::Eq(..) => equal,
                Comparison::Ne(..) => !equal,
                Comparison::Lt(..) => less,
                Comparison::Lte(..) => less || equal,
                Comparison::Gt(..) => self::less(right.as_ref(), left.as_ref()),
                Comparison::Gte(..) => self::less(right.as_ref(), left.as_ref()) || equal,
            }
        }
    }
}

fn equal(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() == right.as_f64(),
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(Some(l), Some(r)))
        }
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            left.len() == right.len()
                && left.iter().all(|(name, l)| right.get(name).is_some_and(|r| equal(Some(l), Some(r))))
        }
        (left, right) => left == right,
    }
}

fn less(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() < right.as_f64(),
        (Some(Value::String(left)), Some(Value::String(right))) => left.chars().cmp(right.chars()) == Ordering::Less,
        _ => false,
    }
}

fn comparable(comparable: &Comparable, root: &Value, at: &Value) -> Option<Value> {
    match comparable {
        Comparable::Literal(literal) => Some(self::literal(literal)),
        Comparable::Function(function) => call(function, root, at),
        Comparable::SingularQuery(query) => {
            let (mut value, segments) = match query {
                SingularQuery::Current(segments) => (at, segments),
                SingularQuery::Root(segments) => (root, segments),
            };
            for segment in segments {
                let selector = match segment {
                    SingularQuerySegment::Index(index) => Selector::Index(*index),
                    SingularQuerySegment::Name(name) => Selector::Name(name.clone()),
                };
                value = self::selector(&selector, root, &(String::new(), value)).first()?.1;
            }
            Some(value.clone())
        }
    }
}

fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::Int(int) => (*int).into(),
        Literal::Float(float) => (*float).into(),
        Literal::String(text) => text.clone().into(),
        Literal::Bool(bool) => (*bool).into(),
        Literal::Null => Value::Null,
    }
}

fn nodes<'a>(test: &Test, root: &'a Value, at: &'a Value) -> Vec<Node<'a>> {
    match test {
        Test::RelQuery(all) => segments(all, root, (String::new(), at)),
        Test::AbsQuery(query) => segments(&query.segments, root, (String::new(), root)),
        Test::Function(function) => panic!("no nodes: {function}"),
    }
}

/// The nodes of a function's argument.
fn arg_nodes<'a>(arg: &FnArg, root: &'a Value, at: &'a Value) -> Vec<Node<'a>> {
    match arg {
        FnArg::Test(test) => nodes(test, root, at),
        other => panic!("no nodes: {other}"),
    }
}

/// The value of a function's argument.
fn arg_value(arg: &FnArg, root: &Value, at: &Value) -> Option<Value> {
    match arg {
        FnArg::Literal(literal) => Some(self::literal(literal)),
        FnArg::Test(test) => match &**test {
            Test::Function(function) => call(function, root, at),
            query => nodes(query, root, at).first().map(|(_, value)| (*value).clone()),
        },
        FnArg::Filter(filter) => panic!("no value: {filter}"),
    }
}

fn call(function: &TestFunction, root: &Value, at: &Value) -> Option<Value> {
    match function {
        TestFunction::Length(arg) => match arg_value(arg, root, at)? {
            Value::String(text) => Some(text.chars().count().into()),
            Value::Array(all) => Some(all.len().into()),
            Value::Object(all) => Some(all.len().into()),
            _ => None,
        },
        TestFunction::Count(arg) => Some(arg_nodes(arg, root, at).len().into()),
        TestFunction::Value(arg) => match arg_nodes(arg, root, at).as_slice() {
            [(_, value)] => Some((*value).clone()),
            _ => None,
        },
        other => panic!("no value: {other}"),
    }
}

fn matches(text: &FnArg, pattern: &FnArg, whole: bool, root: &Value, at: &Value) -> bool {
    let (Some(Value::String(text)), Some(Value::String(pattern))) =
        (arg_value(text, root, at), arg_value(pattern, root, at))
    else {
        return false;
    };
    let pattern = if whole { format!("^(?:{pattern})$") } else { pattern };
    regex::Regex::new(&pattern).is_ok_and(|regex| regex.is_match(&text))
}
