use super::*;
use proptest::prelude::*;

fn key(name: &str) -> Key {
    Key { kind: Kind::EventDestination, namespace: "shop".into(), name: name.into() }
}

/// A file from a line of words: `a=1` an object, `!` an error.
fn file(text: &str) -> File<u8> {
    let mut file = File { version: 0, objects: Vec::new(), problems: Vec::new() };
    for (index, word) in text.split_whitespace().enumerate() {
        file.version = file.version * 31 + word.bytes().map(u64::from).sum::<u64>();
        match word.split_once('=') {
            Some((name, value)) => {
                file.objects.push(Found { key: key(name), line: index + 1, object: value.parse().expect("a number") });
            }
            None => file.problems.push(Problem { line: Some(index + 1), field: None, message: word.to_owned() }),
        }
    }
    file
}

fn files(files: &[(&str, &str)]) -> Result<BTreeMap<String, File<u8>>, String> {
    Ok(files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect())
}

fn see(state: &mut State<u8>, seconds: u64, files: Result<BTreeMap<String, File<u8>>, String>) -> Vec<Note> {
    let (next, notes) = std::mem::take(state).step(Observation { at: Duration::from_secs(seconds), files });
    *state = next;
    notes
}

fn in_force(state: &State<u8>) -> String {
    state.objects().iter().map(|(key, value)| format!("{}={value}", key.name)).collect::<Vec<_>>().join(" ")
}

/// Each row: seconds, the files (`None`: unreadable), what is in force then.
type Row<'a> = (u64, Option<&'a [(&'a str, &'a str)]>, &'a str);

fn run(rows: &[Row<'_>]) -> State<u8> {
    let mut state = State::default();
    for (at, seen, expected) in rows {
        see(&mut state, *at, seen.map_or(Err("permission denied".into()), files));
        assert_eq!(in_force(&state), *expected, "after {at} s");
    }
    state
}

#[test]
fn an_object_is_deleted_when_it_was_missing_twice() {
    run(&[
        (0, Some(&[("x", "a=1"), ("y", "b=1")]), "a=1 b=1"),
        (10, Some(&[("x", "a=1")]), "a=1 b=1"),
        (11, Some(&[("x", "a=1")]), "a=1 b=1"),
        (12, Some(&[("x", "a=1")]), "a=1"),
    ]);
}

#[test]
fn one_that_comes_back_in_time_was_never_gone() {
    run(&[
        (0, Some(&[("x", "a=1"), ("y", "b=1")]), "a=1 b=1"),
        (10, Some(&[("x", "a=1")]), "a=1 b=1"),
        (11, Some(&[("x", "a=1"), ("z", "b=2")]), "a=1 b=2"),
        (12, Some(&[("x", "a=1")]), "a=1 b=2"),
        (13, Some(&[("x", "a=1")]), "a=1 b=2"),
    ]);
}

#[test]
fn an_emptied_or_unreadable_folder_deletes_nothing() {
    run(&[
        (0, Some(&[("x", "a=1 b=1")]), "a=1 b=1"),
        (10, Some(&[]), "a=1 b=1"),
        (20, Some(&[]), "a=1 b=1"),
        (30, None, "a=1 b=1"),
        (40, None, "a=1 b=1"),
        (41, Some(&[("x", "a=1")]), "a=1 b=1"),
        (42, None, "a=1 b=1"),
        (43, Some(&[("x", "a=1")]), "a=1 b=1"),
        (45, Some(&[("x", "a=1")]), "a=1"),
    ]);
}

#[test]
fn while_a_file_is_bad_nothing_is_deleted_and_what_is_good_is_taken() {
    run(&[
        (0, Some(&[("x", "a=1 b=1"), ("y", "c=1")]), "a=1 b=1 c=1"),
        (10, Some(&[("x", "! b=2"), ("z", "d=1")]), "a=1 b=2 c=1 d=1"),
        (20, Some(&[("x", "! b=3"), ("z", "d=1")]), "a=1 b=3 c=1 d=1"),
        (30, Some(&[("x", "a=4 b=4"), ("z", "d=1")]), "a=4 b=4 c=1 d=1"),
        (32, Some(&[("x", "a=4 b=4"), ("z", "d=1")]), "a=4 b=4 d=1"),
    ]);
}

#[test]
fn an_object_that_moves_to_another_file_is_taken_from_there() {
    run(&[
        (0, Some(&[("x", "a=1 b=1")]), "a=1 b=1"),
        (10, Some(&[("x", "! b=1"), ("y", "a=2")]), "a=2 b=1"),
        (20, Some(&[("x", "b=1"), ("y", "a=2")]), "a=2 b=1"),
    ]);
}

#[test]
fn of_two_with_one_name_the_first_counts_and_the_second_is_an_error() {
    let mut state = State::default();
    let notes = see(&mut state, 0, files(&[("x", "b=1 a=1"), ("y", "a=2")]));
    let message = "EventDestination shop/a is defined at x:2 already; the first one counts".to_owned();
    let problem = Problem { line: Some(1), field: Some("metadata.name".into()), message };
    assert_eq!(notes, [Note::Bad { file: "y".into(), problem }]);
    assert_eq!(in_force(&state), "a=1 b=1");
    see(&mut state, 10, files(&[("y", "a=2 b=1")]));
    assert_eq!(in_force(&state), "a=2 b=1");
}

#[test]
fn an_error_is_told_once_for_each_change() {
    let mut state = State::default();
    assert_eq!(see(&mut state, 0, files(&[("x", "!")])).len(), 1);
    assert_eq!(see(&mut state, 1, files(&[("x", "!")])), []);
    assert_eq!(see(&mut state, 2, files(&[("x", "! a=1")])).len(), 1);
    assert_eq!(see(&mut state, 3, files(&[("x", "a=1")])), [Note::Mended { file: "x".into() }]);
    assert_eq!(see(&mut state, 4, Err("gone".into())), [Note::Unreadable("gone".into())]);
    assert_eq!(see(&mut state, 5, Err("gone".into())), []);
    assert_eq!(see(&mut state, 6, files(&[])), [Note::Kept(vec![key("a")])]);
    assert_eq!(see(&mut state, 7, files(&[])), []);
    see(&mut state, 8, files(&[("y", "b=1")]));
    assert_eq!(see(&mut state, 10, files(&[("y", "b=1")])), [Note::Removed(key("a"))]);
}

#[test]
fn what_others_hold_may_be_deleted_only_after_two_good_looks() {
    let mut state = State::default();
    for (at, seen, complete) in [
        (0, files(&[("x", "a=1")]), false),
        (1, files(&[("x", "a=1")]), false),
        (2, files(&[("x", "a=1")]), true),
        (3, files(&[("x", "a=1 !")]), false),
        (6, files(&[("x", "a=1")]), false),
        (7, Err("gone".into()), false),
        (8, files(&[("x", "a=1")]), false),
        (10, files(&[("x", "a=1")]), true),
        (11, files(&[]), false),
        (15, files(&[]), false),
    ] {
        see(&mut state, at, seen);
        assert_eq!(state.is_complete(), complete, "after {at} s");
    }
}

/// A folder of three files with up to three objects each, sometimes broken, sometimes unreadable.
fn any_folder() -> impl Strategy<Value = Option<Vec<(&'static str, String)>>> {
    let object = (0..5_u8, 0..3_u8).prop_map(|(name, value)| format!("{}={value}", ['a', 'b', 'c', 'd', 'e'][usize::from(name)]));
    let word = prop_oneof![8 => object, 1 => Just("!".to_owned())];
    let content = prop::collection::vec(word, 0..3).prop_map(|words| words.join(" "));
    let file = |name| (Just(name), content.clone());
    let all = (prop::option::of(file("x")), prop::option::of(file("y")), prop::option::of(file("z")));
    prop_oneof![9 => all.prop_map(|(x, y, z)| Some([x, y, z].into_iter().flatten().collect())), 1 => Just(None)]
}

/// The names in a folder, if it can be believed: readable, not empty, no error, no name twice.
fn believed(folder: Option<&Vec<(&'static str, String)>>) -> Option<BTreeSet<String>> {
    let words: Vec<&str> = folder?.iter().flat_map(|(_, text)| text.split_whitespace()).collect();
    let names: BTreeSet<String> = words.iter().filter_map(|word| word.split('=').next().map(str::to_owned)).collect();
    (!words.is_empty() && !words.contains(&"!") && names.len() == words.len()).then_some(names)
}

proptest! {
    #[test]
    fn nothing_leaves_unless_it_was_missing_all_along_from_a_folder_to_be_believed(
        steps in prop::collection::vec((any_folder(), 0..4_u64), 1..40)
    ) {
        let (mut state, mut now) = (State::default(), 0);
        // Since when each name was missing in every look, all of them believed.
        let mut missing: BTreeMap<String, u64> = BTreeMap::new();
        for (folder, pause) in steps {
            now += pause;
            let before: BTreeSet<String> = state.objects().keys().map(|key| key.name.clone()).collect();
            let seen = folder.as_ref().map_or(Err("unreadable".into()), |list| {
                files(&list.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>())
            });
            see(&mut state, now, seen);
            match believed(folder.as_ref()) {
                None => missing.clear(),
                Some(names) => {
                    missing.retain(|name, _| !names.contains(name));
                    for name in before.iter().filter(|name| !names.contains(*name)) {
                        missing.entry(name.clone()).or_insert(now);
                    }
                }
            }
            let after: BTreeSet<String> = state.objects().keys().map(|key| key.name.clone()).collect();
            for name in &before {
                let may_leave = missing.get(name).is_some_and(|since| now >= since + 2);
                prop_assert_eq!(after.contains(name), !may_leave, "{} at {}", name, now);
            }
            if let Some(folder) = &folder {
                for word in folder.iter().flat_map(|(_, text)| text.split_whitespace()).filter(|word| *word != "!") {
                    prop_assert!(after.contains(word.split('=').next().unwrap_or_default()), "{} is there", word);
                }
            }
            missing.retain(|name, _| after.contains(name));
        }
    }
}
