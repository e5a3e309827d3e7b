//! Budgets of an hour: what is counted, where, and that nothing of what is too much leaves.

use std::num::NonZeroU32;

use super::*;
use crate::clock::Clock;
use crate::crossing::budget::{RevealBudget, What};
use crate::ids::Shape;
use crate::vault::token::Value;

const ROUTES: &str = r#"
[[inbound]]
match = "POST /{id}"
upstream = "a"
[inbound.request]
body = "ndjson"
reveal = [{ path = "$.a", is = "c.a" }, { path = "$.maybe", is = "c.a", plain = "pass" }, { capture = "id", is = "c.a" }]
fields = [{ path = "$.in", inside = "json", default = "keep", reveal = [{ path = "$.x", is = "c.a" }] }]
[inbound.response]
subject = "$.id"
keep = ["$.status"]
fields = [{ path = "$.id", is = "c.a", do = "tokenize" }]

[[inbound]]
match = "POST /lines"
upstream = "a"
[inbound.request]
fields = [{ path = "$.digits", is = "c.d", do = "keep" }]
reveal = [{ path = "$.a", is = "c.a" }]
[inbound.response]
body = "ndjson"
subject = "$.id"
fields = [{ path = "$.id", is = "c.a", do = "pseudonymize" }]
"#;

struct House {
    legs: Vec<Arc<BoundLeg>>,
    bound: Bound,
    clock: Clock,
}

/// With `limits` in the policy, so that persons are counted.
fn house() -> House {
    let bound = bind_keys(ROUTES);
    let CompiledPolicy { mut policy, .. } = policy(ROUTES);
    policy.limits.subjects = NonZeroU32::new(1);
    let CompiledPolicy { policy, routes, .. } = compile::compile(policy).unwrap();
    let read = |_: &Path| Err("no files here".to_owned());
    let leg = |leg, side| Arc::new(BoundLeg::bind(leg, side, &policy.partner.domain, &bound.vault, &read).unwrap());
    let legs = routes.into_iter().flat_map(|r| [leg(r.request, Leg::Request), leg(r.response, Leg::Response)]);
    House { legs: legs.collect(), bound, clock: Clock::manual(Time(1_000_000_000)) }
}

impl House {
    fn budget(&self, tokens: u32, subjects: u32) -> Arc<RevealBudget> {
        RevealBudget::new(NonZeroU32::new(tokens), NonZeroU32::new(subjects), None, self.clock.clone()).unwrap()
    }

    fn token(&self, value: &str) -> String {
        let (domain, category) = (ids::DomainId::parse("parcelo").unwrap(), ids::Category::parse("c.a").unwrap());
        let sealer = self.bound.vault.sealer(&domain, Some(&category), Shape::Opaque).unwrap();
        let mut token = Vec::new();
        sealer.issue(Value::Text(value), &mut token);
        String::from_utf8(token).unwrap()
    }

    /// What leaves, and what became of it; in pieces of one byte and at once.
    async fn cross(
        &self,
        leg: usize,
        budget: &Arc<RevealBudget>,
        body: &str,
        step: usize,
    ) -> (String, Option<&'static str>) {
        let mut crossing = Crossing::new(Arc::clone(&self.legs[leg]), NOW);
        crossing.charging(Some(Arc::clone(budget)));
        let mut out = String::new();
        let mut done = Ok(());
        for chunk in body.as_bytes().chunks(step) {
            done = crossing.feed(chunk).await;
            // As a passage does it: such a body is taken when all of it has passed.
            if self.legs[leg].is_whole() && !self.legs[leg].compiled.leg.body.is_stream() && done.is_ok() {
                continue;
            }
            out.push_str(std::str::from_utf8(crossing.take().as_bytes()).unwrap());
            if done.is_err() {
                break;
            }
        }
        if done.is_ok() {
            done = crossing.finish().await;
            out.push_str(std::str::from_utf8(crossing.take().as_bytes()).unwrap());
        }
        (out, done.err().map(|refusal| refusal.code()))
    }
}

#[tokio::test]
async fn tokens_are_counted_wherever_they_are_turned_back_and_the_same_costs_nothing() {
    let house = house();
    let budget = house.budget(3, 9);
    let line = |value: &str| {
        format!("{{\"a\":\"{0}\",\"maybe\":\"{0}\",\"in\":\"{{\\\"x\\\":\\\"{0}\\\"}}\"}}\n", house.token(value))
    };
    for step in [1, usize::MAX] {
        let (out, refused) = house.cross(0, &budget, &line("Anna").repeat(3), step).await;
        assert_eq!((out.matches("Anna").count(), refused), (9, None));
    }
    let mut head = HeadCrossing::new(&house.legs[0], NOW);
    head.charging(Some(Arc::clone(&budget)));
    head.path(&house.bound.paths[0], &[("id".to_owned(), house.token("Ben"))], false).unwrap();
    head.pay().unwrap();
    // The third is charged, what is no token is not, and the fourth is refused with all that came with it.
    let body = format!("{}{{\"maybe\":\"plain\"}}\n", line("Carla"));
    assert_eq!(house.cross(0, &budget, &body, usize::MAX).await.1, None);
    let (out, refused) = house.cross(0, &budget, &format!("{}{}", line("Anna"), line("Dora")), usize::MAX).await;
    assert_eq!((out.as_str(), refused), ("", Some("budget_exceeded")));
    let (out, refused) = house.cross(0, &budget, &format!("{}{}", line("Anna"), line("Dora")), 1).await;
    assert!(out.contains("Anna") && !out.contains("Dora") && refused == Some("budget_exceeded"), "{out}");
    let mut head = HeadCrossing::new(&house.legs[0], NOW);
    head.charging(Some(Arc::clone(&budget)));
    head.path(&house.bound.paths[0], &[("id".to_owned(), house.token("Dora"))], false).unwrap();
    assert_eq!(head.pay().unwrap_err().code(), "budget_exceeded");
    assert_eq!(house.cross(0, &budget, &line("Carla"), 1).await.1, None, "what it had goes on");
}

#[tokio::test]
async fn persons_are_counted_before_anything_of_theirs_leaves() {
    let house = house();
    let budget = house.budget(9, 2);
    let document = |person: u32| format!("{{\"status\":\"open\",\"id\":{person}}}");
    assert!(house.legs[1].is_whole(), "what says whose it is may come last");
    for person in [7, 8, 7] {
        assert_eq!(house.cross(1, &budget, &document(person), 3).await.1, None);
    }
    let refused = (String::new(), Some("budget_exceeded"));
    assert_eq!(house.cross(1, &budget, &document(9), 3).await, refused);
    assert_eq!(house.cross(1, &budget, &document(9), usize::MAX).await, refused);
    // Of lines those that had passed.
    let lines = "{\"id\":7}\n{\"id\":8}\n{\"id\":9}\n{\"id\":7}\n";
    let (out, code) = house.cross(3, &budget, lines, 9).await;
    assert_eq!((out.lines().count(), code), (2, refused.1));
    // Requests leave nothing, and count nobody.
    let request = house.cross(2, &budget, "{\"id\":10}", 9).await;
    assert_eq!(request.1, None);
}

#[tokio::test]
async fn an_operator_is_told_at_four_fifths_and_at_the_first_refusal_once_an_hour() {
    let house = house();
    let budget = house.budget(5, 9);
    let mut told = Vec::new();
    let mut minute = 0;
    for (at, person) in
        [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (59, 8), (63, 9), (70, 1), (70, 2), (70, 3), (70, 4)]
    {
        assert!(at >= minute);
        minute = at;
        house.clock.set(Time(1_000_000_000 + at * 60_000));
        let body = format!("{{\"a\":\"{}\"}}", house.token(&person.to_string()));
        let mut crossing = Crossing::new(Arc::clone(&house.legs[2]), NOW);
        crossing.charging(Some(Arc::clone(&budget)));
        let _ = crossing.feed(body.as_bytes()).await;
        told.extend(crossing.alarms().iter().map(|alarm| (at, alarm.count, alarm.limit, alarm.refused, alarm.what)));
    }
    let what = What::Tokens;
    assert_eq!(told, [(2, 4, 5, false, what), (4, 5, 5, true, what), (70, 4, 5, false, what)]);
}

#[test]
fn exchanges_at_once_do_not_take_more_than_there_is() {
    let house = house();
    let budget = house.budget(1_000, 9);
    let tokens: Vec<String> = (0..3_000).map(|number| house.token(&number.to_string())).collect();
    let passed: usize = std::thread::scope(|scope| {
        let part = |tokens: &[String]| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let pass = async |token: &String| {
                house.cross(2, &budget, &format!("{{\"a\":\"{token}\"}}"), usize::MAX).await.1.is_none()
            };
            tokens.iter().filter(|token| runtime.block_on(pass(token))).count()
        };
        // Each token is sent by two threads.
        let threads: Vec<_> =
            tokens.chunks(500).chain(tokens.chunks(500)).map(|chunk| scope.spawn(move || part(chunk))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let again = |token: &&String| {
        runtime.block_on(house.cross(2, &budget, &format!("{{\"a\":\"{token}\"}}"), usize::MAX)).1.is_none()
    };
    assert_eq!(tokens.iter().filter(again).count(), 1_000);
    assert!((1_000..=2_000).contains(&passed), "{passed}");
}
