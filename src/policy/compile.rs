//! A checked policy, ready to run: automata and action tables for each leg.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{self, Direction, RuleId};
use crate::json;
use crate::json::automaton::{Otherwise, Program, ProgramError, Selection, Verb};
use crate::json::path::Path;

use super::actions::REVEAL_RANK;
use super::diagnostic::{Diagnostic, Severity};
use super::route::Router;
use super::rule::{Action, BodyKind, Leg, Locator, Mask, Place, Policy, Reveal, Route, Rule};
use super::{clash, codes};

/// One partner's policy, ready to run. Shared by every exchange.
#[derive(Debug)]
pub struct CompiledPolicy {
    /// What it was made from.
    pub policy: Policy,
    /// Parallel to `policy.routes`.
    pub routes: Vec<CompiledRoute>,
    /// The partner calls us.
    pub inbound: Router,
    /// We call the partner.
    pub outbound: Router,
}

/// One route, ready to run.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Request leg.
    pub request: CompiledLeg,
    /// Response leg.
    pub response: CompiledLeg,
    /// Error leg.
    pub error: Option<CompiledLeg>,
}

/// A place at which a partner is given values masked: one that comes back there in a request would overwrite the real one.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The rule that masks it.
    pub rule: RuleId,
    /// How.
    pub mask: Mask,
    path: Path,
    except: Vec<Path>,
}

/// Who asked for a selection of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Index into `Leg::rules`.
    Rule(usize),
    /// Index into `CompiledLeg::guards`: no rule of the file, and laxer than each of them but `keep`.
    Guard(usize),
    /// Index into `Leg::reveals`.
    Reveal(usize),
}

/// One leg, ready to run.
#[derive(Debug)]
pub struct CompiledLeg {
    /// What it was made from (a copy, so that a leg can be used alone).
    pub leg: Arc<Leg>,
    /// For JSON bodies.
    pub program: Option<Arc<Program>>,
    /// By selection number of the program.
    pub askers: Vec<Asker>,
    /// The rules beside the body, as indices into `Leg::rules` / `Leg::reveals`, in the file's order.
    pub beside: Vec<Asker>,
    /// Whether a rule says `must`: then the leg is atomic as a whole.
    pub must: bool,
    /// Bytes of one record up to which it is held until all of it has passed.
    pub unit_bytes: u64,
    /// The rules inside strings, by index of the rule that opens them.
    pub inside: BTreeMap<usize, Self>,
    /// Where masked values must not come back.
    pub guards: Vec<Guard>,
    /// What one body, line or event may cost.
    pub limits: json::Limits,
    /// Parts that are JSON.
    pub parts: Vec<CompiledPart>,
    /// Whether the persons whose data leaves by it are counted.
    pub counts_subjects: bool,
}

/// A part that is a JSON document, ready to run.
#[derive(Debug)]
pub struct CompiledPart {
    /// Its name.
    pub name: String,
    /// The leg, with the program of the part's document and who asks it.
    pub leg: CompiledLeg,
}

impl CompiledLeg {
    /// Who asked for a selection; behind the selections are numbered the rules that look beside documents.
    #[must_use]
    pub fn asker(&self, selection: usize) -> Option<Asker> {
        let beside = selection.checked_sub(self.askers.len());
        beside.map_or_else(|| self.askers.get(selection), |index| self.beside.get(index)).copied()
    }

    /// The rules in a part of this name. Folded where what is not listed stays, so that none can slip past.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&CompiledPart> {
        let folded = |part: &&CompiledPart| {
            self.leg.default == Otherwise::Keep && json::text::fold(&part.name) == json::text::fold(name)
        };
        let exact = self.parts.iter().find(|part| part.name == name);
        exact.or_else(|| self.parts.iter().find(folded))
    }

    /// The strictest of the rules that look beside documents at such a place, by its number as a selection.
    #[must_use]
    pub fn strictest(&self, is: impl Fn(&Locator) -> bool) -> Option<usize> {
        let ranked = self.beside.iter().enumerate().filter_map(|(index, asker)| {
            let (locator, rank) = match asker {
                Asker::Rule(rule) => self.leg.rules.get(*rule).map(|rule| (&rule.locator, rule.action.rank()))?,
                Asker::Reveal(reveal) => (&self.leg.reveals.get(*reveal)?.locator, REVEAL_RANK),
                Asker::Guard(_) => return None,
            };
            is(locator).then_some((rank, index))
        });
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, index)| self.askers.len() + index)
    }
}

/// Compiles a policy. All complaints at once (routes that match the same request, programs that are too complex).
pub fn compile(policy: Policy) -> Result<CompiledPolicy, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let limits = json::Limits {
        value_bytes: policy.limits.value_bytes,
        element_bytes: policy.limits.element_bytes,
        leaves: policy.limits.leaves,
        growth_bytes: policy.limits.growth_bytes,
        ..json::Limits::default()
    };
    let inbound = router(&policy, Direction::Inbound, &mut found);
    let outbound = router(&policy, Direction::Outbound, &mut found);
    let mut routes = Vec::new();
    for route in &policy.routes {
        let unit = policy.limits.atomic_bytes;
        let mut leg = |leg: &Leg, side: ids::Leg, guards| {
            let compiled = compile_leg(leg, &route.place, limits, guards, &mut found);
            let counts_subjects = policy.limits.subjects.is_some() && side.discloses(route.direction);
            compiled.map(|compiled| CompiledLeg { unit_bytes: unit, counts_subjects, ..compiled })
        };
        let request = leg(&route.request, ids::Leg::Request, guards(&policy, route));
        let response = leg(&route.response, ids::Leg::Response, Vec::new());
        let error = route.error.as_ref().map(|error| leg(error, ids::Leg::Response, Vec::new()));
        if let (Some(request), Some(response)) = (request, response) {
            match error {
                Some(None) => {}
                Some(Some(error)) => routes.push(CompiledRoute { request, response, error: Some(error) }),
                None => routes.push(CompiledRoute { request, response, error: None }),
            }
        }
    }
    if found.is_empty() { Ok(CompiledPolicy { policy, routes, inbound, outbound }) } else { Err(found) }
}

fn router(policy: &Policy, direction: Direction, found: &mut Vec<Diagnostic>) -> Router {
    let routes = policy.routes.iter().enumerate().filter(|(_, route)| route.direction == direction);
    let routes = routes.map(|(index, route)| (index, route.methods.as_slice(), &route.template));
    Router::new(routes).unwrap_or_else(|clashes| {
        for (earlier, later) in clashes {
            let (Some(earlier), Some(later)) = (policy.routes.get(earlier), policy.routes.get(later)) else { continue };
            found.push(Diagnostic {
                code: codes::ROUTES_CLASH,
                severity: Severity::Error,
                file: policy.file.clone(),
                span: later.place.span.clone(),
                message: format!(
                    "route `{}` matches the same request as `{}` (line {}), and neither is more literal",
                    later.pattern, earlier.pattern, earlier.place.line
                ),
                help: Some("make one of the paths or method lists narrower".into()),
            });
        }
        Router::default()
    })
}

/// The places that answers on this path mask, whatever the method: a partner writes back what it has read.
fn guards(policy: &Policy, route: &Route) -> Vec<Guard> {
    if route.direction == Direction::Outbound {
        return Vec::new();
    }
    let same = |other: &&Route| other.direction == route.direction && other.template.is_like(&route.template);
    let answers = policy.routes.iter().filter(same).map(|route| &route.response);
    // Where nothing keeps a value, a guard must not let it pass.
    let kept = |path: &Path| {
        let keeps = |rule: &Rule| matches!((&rule.action, &rule.locator), (Action::Keep { .. }, Locator::Path(kept)) if rule.except.is_empty() && kept.segments() == path.segments());
        route.request.default == Otherwise::Keep || route.request.rules.iter().any(keeps)
    };
    let masked = answers.flat_map(|leg| &leg.rules).filter_map(|rule| match (&rule.action, &rule.locator) {
        (Action::Mask(mask), Locator::Path(path)) if kept(path) => {
            Some(Guard { rule: rule.id.clone(), mask: *mask, path: path.clone(), except: rule.except.clone() })
        }
        _ => None,
    });
    masked.collect()
}

fn compile_leg(
    leg: &Leg,
    route: &Place,
    limits: json::Limits,
    guards: Vec<Guard>,
    found: &mut Vec<Diagnostic>,
) -> Option<CompiledLeg> {
    let rules = leg.rules.iter().enumerate().map(|(index, rule)| (Asker::Rule(index), &rule.locator));
    let reveals = leg.reveals.iter().enumerate().map(|(index, reveal)| (Asker::Reveal(index), &reveal.locator));
    let beside = rules.chain(reveals).filter(|(_, locator)| !matches!(locator, Locator::Path(_)));
    let beside: Vec<Asker> = beside.map(|(asker, _)| asker).collect();
    let (selections, askers) = selections(leg, &guards, |locator| match locator {
        Locator::Path(path) => Some(path),
        _ => None,
    });
    let inside = inside(leg, route, limits, found)?;
    let mut parts = Vec::new();
    for name in part_names(leg, found) {
        let (selections, askers) = self::selections(leg, &[], |locator| match locator {
            Locator::InPart { part, path } if *part == name => Some(path),
            _ => None,
        });
        let program = match Program::new(selections, leg.default, limits) {
            Ok(program) => Some(Arc::new(program)),
            Err(error) => {
                complain(leg, route, &askers, &error, found);
                return None;
            }
        };
        let compiled = CompiledLeg {
            leg: Arc::new(leg.clone()),
            program,
            askers,
            beside: Vec::new(),
            must: false,
            parts: Vec::new(),
            unit_bytes: 0,
            limits,
            counts_subjects: false,
            inside: self::inside(leg, route, limits, found)?,
            guards: Vec::new(),
        };
        parts.push(CompiledPart { name, leg: compiled });
    }
    let program = match leg.body {
        BodyKind::Json | BodyKind::Ndjson | BodyKind::Sse | BodyKind::Multipart => {
            match Program::new(selections, leg.default, limits) {
                Ok(program) => Some(Arc::new(program)),
                Err(error) => {
                    complain(leg, route, &askers, &error, found);
                    return None;
                }
            }
        }
        BodyKind::Form | BodyKind::None | BodyKind::Opaque { .. } => None,
    };
    let must = leg.deep_rules().iter().any(|deep| deep.thing.must);
    Some(CompiledLeg {
        leg: Arc::new(leg.clone()),
        program,
        askers,
        beside,
        must,
        parts,
        unit_bytes: 0,
        limits,
        inside,
        guards,
        counts_subjects: false,
    })
}

/// The rules inside strings, by index of the rule that opens them.
fn inside(
    leg: &Leg,
    route: &Place,
    limits: json::Limits,
    found: &mut Vec<Diagnostic>,
) -> Option<BTreeMap<usize, CompiledLeg>> {
    let mut inside = BTreeMap::new();
    for (index, rule) in leg.rules.iter().enumerate() {
        if let Some(opened) = rule.inside() {
            inside.insert(index, compile_leg(&opened.leg, route, limits, Vec::new(), found)?);
        }
    }
    Some(inside)
}

/// The parts that are JSON. One whose rules speak of it as text too cannot be decided.
fn part_names(leg: &Leg, found: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let rules = leg.rules.iter().map(|rule| (&rule.locator, &rule.place));
    let all = rules.chain(leg.reveals.iter().map(|reveal| (&reveal.locator, &reveal.place)));
    for (locator, place) in all.clone() {
        let Locator::InPart { part, .. } = locator else { continue };
        if all.clone().any(|(other, _)| matches!(other, Locator::Part(name) if name == part)) {
            found.push(Diagnostic {
                code: codes::RULES_CLASH,
                severity: Severity::Error,
                file: place.file.clone(),
                span: place.span.clone(),
                message: format!("part `{part}` is named both as a whole and by paths in it"),
                help: Some("a part is text, a file or JSON: keep the rules of one kind".into()),
            });
        }
        if !names.contains(part) {
            names.push(part.clone());
        }
    }
    names
}

/// What the rules that lead into one document ask of it, and who asks.
fn selections<'l>(
    leg: &'l Leg,
    guards: &[Guard],
    path: impl Fn(&'l Locator) -> Option<&'l Path>,
) -> (Vec<Selection>, Vec<Asker>) {
    let mut selections = Vec::new();
    let mut askers = Vec::new();
    let mut settings = Settings::default();
    let folded = leg.default == Otherwise::Keep;
    for (index, rule) in leg.rules.iter().enumerate() {
        let Some(path) = path(&rule.locator) else { continue };
        let verb = verb(&rule.action);
        askers.push(Asker::Rule(index));
        selections.push(Selection {
            path: path.clone(),
            except: rule.except.clone(),
            // A fold never widens a `keep`.
            folded: folded && !matches!(verb, Verb::Keep { .. }),
            verb,
            rank: rule.action.rank() * 2,
            settings: settings.of_rule(rule),
        });
    }
    for (index, reveal) in leg.reveals.iter().enumerate() {
        let Some(path) = path(&reveal.locator) else { continue };
        askers.push(Asker::Reveal(index));
        selections.push(Selection {
            path: path.clone(),
            except: Vec::new(),
            verb: Verb::Transform,
            rank: REVEAL_RANK * 2,
            settings: settings.of_reveal(reveal),
            // To turn a token back at a place that the policy does not spell would be a widening too.
            folded: false,
        });
    }
    for (index, guard) in guards.iter().enumerate() {
        askers.push(Asker::Guard(index));
        selections.push(Selection {
            path: guard.path.clone(),
            except: guard.except.clone(),
            verb: Verb::Transform,
            // Between `keep` and a reveal, and all alike: each looks for what any of them would have made.
            rank: GUARD_RANK,
            settings: 0,
            folded,
        });
    }
    (selections, askers)
}

/// As the ranks of selections are counted, which are twice those of rules.
const GUARD_RANK: u8 = 1;

fn verb(action: &Action) -> Verb {
    match action {
        Action::Keep { whole } => Verb::Keep { whole: *whole },
        Action::Drop => Verb::Drop,
        Action::Null => Verb::Null,
        Action::Replace { with } => Verb::Replace(with.clone()),
        Action::Inside(_)
        | Action::Mask(_)
        | Action::Generalize(_)
        | Action::Encrypt { .. }
        | Action::Tokenize(_)
        | Action::Store(_)
        | Action::Pseudonymize => Verb::Transform,
    }
}

/// Numbers for settings: rules of one kind have one number if and only if they leave the same thing behind.
#[derive(Default)]
struct Settings<'l> {
    rules: Vec<&'l Rule>,
    reveals: Vec<&'l Reveal>,
}

impl<'l> Settings<'l> {
    fn of_rule(&mut self, rule: &'l Rule) -> u32 {
        let alike = |old: &&Rule| old.action.rank() == rule.action.rank() && !clash::differ(old, rule);
        number(&mut self.rules, rule, alike)
    }

    fn of_reveal(&mut self, reveal: &'l Reveal) -> u32 {
        number(&mut self.reveals, reveal, |old| !clash::reveals_differ(old, reveal))
    }
}

fn number<T>(seen: &mut Vec<T>, new: T, alike: impl Fn(&T) -> bool) -> u32 {
    let index = seen.iter().position(alike).unwrap_or_else(|| {
        seen.push(new);
        seen.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn complain(leg: &Leg, route: &Place, askers: &[Asker], error: &ProgramError, found: &mut Vec<Diagnostic>) {
    let ProgramError::TooComplex { selections } = error;
    let dear = selections.iter().filter_map(|&index| match askers.get(index)? {
        Asker::Rule(rule) => leg.rules.get(*rule).map(|rule| (Some(&rule.id), &rule.place)),
        Asker::Reveal(reveal) => leg.reveals.get(*reveal).map(|reveal| (Some(&reveal.id), &reveal.place)),
        // Its rule is complained of where it stands.
        Asker::Guard(_) => None,
    });
    let mut dear: Vec<_> = dear.collect();
    if dear.is_empty() {
        dear.push((None, route));
    }
    for (id, place) in dear {
        let whose = id.map(|id| format!("rule `{id}`: ")).unwrap_or_default();
        found.push(Diagnostic {
            code: codes::TOO_COMPLEX,
            severity: Severity::Error,
            file: place.file.clone(),
            span: place.span.clone(),
            message: format!("{whose}the paths of this leg are too complex together"),
            help: Some("use fewer `..` and wildcards: write names where they are known".into()),
        });
    }
}

#[cfg(test)]
mod tests;
