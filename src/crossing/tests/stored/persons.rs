//! Whose a stored token is.

use super::*;

#[test]
fn tokens_belong_to_the_person_whose_document_it_is() {
    let fields = "{ path = \"$.id\", is = \"c.id\", do = \"tokenize\", store = \"vault\" }, { path = \"$.a\", is = \"c.a\", do = \"tokenize\", store = \"vault\" }";
    for (kind, unit) in [("ndjson", "\n"), ("json", "")] {
        let routes = both(kind, fields, REVEAL, "vault")
            .replace("default = \"keep\"\n", "default = \"keep\"\nsubject = \"$.id\"\n");
        let house = house(&routes, Watched::default());
        // The subject comes last, and a value is two persons'.
        let anna = format!("{{\"a\":\"both\",\"x\":1,\"id\":\"anna\"}}{unit}");
        let ben = format!("{{\"a\":\"both\",\"id\":\"ben\"}}{unit}");
        for step in [3, 999] {
            match kind {
                "json" => {
                    drop((passed(&house.legs[1], anna.as_bytes(), step), passed(&house.legs[1], ben.as_bytes(), step)))
                }
                _ => drop(passed(&house.legs[1], format!("{anna}{ben}").as_bytes(), step)),
            }
        }
        let mut subjects: Vec<_> = all(&house).into_iter().map(|entry| entry.subjects).collect();
        subjects.sort_by_key(Vec::len);
        assert_eq!(subjects.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2], "{kind}");
        assert!(subjects[2].contains(&subjects[0][0]) && subjects[2].contains(&subjects[1][0]));
        assert!(house.legs[1].is_whole());
    }
}

#[test]
fn what_would_be_stored_for_nobody_is_refused_where_a_leg_names_its_subject() {
    let fields = "{ path = \"$.id\", is = \"c.id\", do = \"tokenize\", store = \"vault\" }, { path = \"$.a\", is = \"c.a\", do = \"tokenize\", store = \"vault\" }";
    let subject = "default = \"keep\"\nsubject = \"$.id\"\n";
    let events = "{ path = \"$.id\", is = \"c.id\", do = \"tokenize\", store = \"vault\" }, { event = \"id\", is = \"c.event\", do = \"tokenize\", store = \"vault\" }";
    for (kind, fields, body, first) in [
        ("json", fields, "{\"a\":\"somebody's\"}", ""),
        ("ndjson", fields, "{\"id\":\"anna\",\"a\":\"x\"}\n{\"a\":\"somebody's\"}\n", "{\"id\":\"tk1_"),
        ("sse", events, "id: number\ndata: {\"b\":1}\n\n", ""),
    ] {
        let routes = both(kind, fields, REVEAL, "vault").replace("default = \"keep\"\n", subject);
        for step in [1, 999] {
            let house = house(&routes, Watched::default());
            let (out, done) = taken(&house.legs[1], body.as_bytes(), step);
            assert_eq!(done.unwrap_err().code(), "rule_unmatched", "{kind}");
            let out = String::from_utf8(out).unwrap();
            // What has no parts is held whole by whoever sends it.
            let held = kind == "json" && house.legs[1].is_whole();
            assert!(held || out.starts_with(first) && out.lines().count() <= 1 && !out.contains("somebody"), "{out}");
            assert!(all(&house).iter().all(|entry| entry.subjects.len() == 1), "{kind}");
        }
    }
    // Nothing is stored for one that says nothing of anybody.
    let routes = both("json", fields, REVEAL, "vault").replace("default = \"keep\"\n", subject);
    passed(&house(&routes, Watched::default()).legs[1], b"{\"b\":1}", 9);
}

#[test]
fn ids_and_comments_of_an_event_belong_to_the_person_of_its_data() {
    let fields = "{ path = \"$.id\", is = \"c.id\", do = \"tokenize\", store = \"vault\" }, { event = \"id\", is = \"c.event\", do = \"tokenize\", store = \"vault\" }";
    let routes = both("sse", fields, REVEAL, "vault")
        .replace("default = \"keep\"\n", "default = \"keep\"\nsubject = \"$.id\"\n");
    let event = |name: &str, first: bool| {
        let (id, data) = (format!("id: number of {name}\n"), format!("data: {{\"id\":\"{name}\"}}\n"));
        if first { format!("{id}{data}\n") } else { format!("{data}{id}\n") }
    };
    for first in [true, false] {
        let body = event("anna", first) + &event("ben", first);
        for step in [1, 3, 999] {
            let house = house(&routes, Watched::default());
            let out = passed(&house.legs[1], body.as_bytes(), step);
            let text = String::from_utf8(out).unwrap();
            let tokens: Vec<_> = text.split(['"', ' ', '\n']).filter(|word| word.starts_with("tk1_")).collect();
            assert_eq!(tokens.len(), 4, "{text}");
            assert_eq!(text.lines().count(), body.lines().count(), "{text}");
            // Two of each person.
            let mut subjects: Vec<_> = all(&house).into_iter().map(|entry| entry.subjects).collect();
            subjects.sort();
            assert!(subjects.iter().all(|of| of.len() == 1), "{first} {step}");
            assert!(
                subjects[0] == subjects[1] && subjects[1] != subjects[2] && subjects[2] == subjects[3],
                "{first} {step}"
            );
        }
    }
}
