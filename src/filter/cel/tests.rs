use super::*;
use crate::event::Attributes;
use proptest::prelude::*;
use std::time::Instant;

fn values(json: &str) -> Values {
    let attributes = r#"{"id":"1","source":"/orders","type":"com.example.order.failed","subject":"7","time":"2026-01-02T03:04:05Z"}"#;
    Values::new(&Attributes::from_json(attributes.as_bytes()).unwrap(), Some(json.as_bytes()))
}

fn order() -> Values {
    values(
        r#"{"amount": 1500, "big": 18446744073709551615, "price": 1.5, "paid": true, "note": null, "lines": [{"sku": "a", "count": 2}, {"sku": "b"}], "a-b": 1}"#,
    )
}

fn evaluate(text: &str, values: &Values) -> Result<bool, Failure> {
    Expression::compile(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")).evaluate(values)
}

#[test]
fn attributes_and_json_data_are_members_of_event() {
    for (text, wanted) in [
        (r#"event.type == "com.example.order.failed" && event.data.amount > 1000.0"#, true),
        ("event.data.amount > 1000", true),
        ("event.data.amount > 1500.5", false),
        ("event.data.big > 5u", true),
        ("event.data.price < 2", true),
        ("event.type.startsWith('com.example.') && event.source in ['/orders', '/invoices']", true),
        ("event.specversion == '1.0'", true),
        ("has(event.subject) && !has(event.partitionkey)", true),
        ("has(event.data.note) && event.data.note == null && !has(event.data.missing)", true),
        ("event.data['a-b'] == 1 && event['subject'] == '7'", true),
        ("event.data.lines.exists(line, line.sku == 'b')", true),
        ("event.data.lines.all(line, line.sku == 'b')", false),
        ("event.data.lines.exists_one(line, line.sku == 'a')", true),
        ("event.data.lines.exists(a, event.data.lines.exists(b, a.sku == 'a' && b.sku == 'b'))", true),
        ("size(event.data.lines) == 2 && event.data.lines[0].count == 2", true),
        ("event.data.all(name, name != 'x')", true),
        ("int(event.subject) == 7 && string(event.data.amount) == '1500'", true),
        ("type(event.data) == map", true),
        ("event.data.paid ? event.type.contains('failed') : false", true),
    ] {
        assert_eq!(evaluate(text, &order()), Ok(wanted), "{text}");
    }
}

#[test]
fn what_has_no_answer_is_told_by_its_class() {
    for (text, wanted) in [
        ("event.data.missing == 1", Failure::NoSuchKey),
        ("event.partitionkey == 'a'", Failure::NoSuchKey),
        ("event.data.note.x == 1", Failure::WrongType),
        ("event.data.amount + 'a' == 'a'", Failure::WrongType),
        ("event.data.amount", Failure::NotBoolean),
        ("event.type", Failure::NotBoolean),
        ("1 / (event.data.amount - 1500) == 1", Failure::Other),
        ("event.data.lines[7].sku == 'a'", Failure::Other),
    ] {
        assert_eq!(evaluate(text, &order()), Err(wanted), "{text}");
    }
    for json in ["", "no JSON", r#"{"a":"#] {
        assert_eq!(evaluate("event.data.amount > 1", &values(json)), Err(Failure::NoSuchKey), "{json}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, wanted) in [
        ("event.type = 'a'", "line 1, column 12"),
        (
            "event.type == 'a' &&\n  data.amount > 5",
            "(line 2, column 3): there is no variable data; attributes are event.type, event.source …, JSON data is event.data",
        ),
        ("true && event == {}", "(line 1, column 9): event stands before an attribute or data: event.type, event.data.amount"),
        ("event.type.matches('a')", "matches is not offered; use startsWith, endsWith or contains"),
        ("event.data.l.map(x, x) == []", "map and filter are not offered; use all, exists or exists_one"),
        ("event.data.l.filter(x, x) == []", "map and filter are not offered; use all, exists or exists_one"),
        ("event.data.l.all(event, true)", "event is the event; give the element another name"),
        ("timestamp(event.time) > timestamp('2026-01-01T00:00:00Z')", "timestamp is not offered"),
        ("frob(event.type)", "there is no function frob"),
        ("event.type.frob()", "there is no function frob"),
        ("a.B{c: 1} == 1", "messages are not offered"),
        ("(", "line 1"),
        ("", "line 1"),
    ] {
        let said = Expression::compile(text).expect_err(text).to_string();
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

#[test]
fn length_nesting_and_additions_are_bounded() {
    let long = format!("event.type == '{}'", "a".repeat(MAX_LENGTH));
    assert!(Expression::compile(&long).unwrap_err().message.contains("longer than 2048"));
    let brackets = format!("{}true{}", "(".repeat(25), ")".repeat(25));
    assert!(Expression::compile(&brackets).unwrap_err().message.contains("deeper than 24"));
    assert!(Expression::compile(&format!("{}true{}", "(".repeat(24), ")".repeat(24))).is_ok());
    let deep = format!("event.data{} == 1", ".a".repeat(70));
    assert!(Expression::compile(&deep).unwrap_err().message.contains("deeper than 64"));
    let sum = format!("1{} == 2", " + 1".repeat(17));
    assert!(Expression::compile(&sum).unwrap_err().message.contains("more than 16 additions"));
    for long in ["!".repeat(2000) + "true", "-".repeat(2000) + "1 == 1", "1-".repeat(1000) + "1 == 1", "true?true:".repeat(200) + "true"] {
        // refused or not, it comes to an end
        let _ = Expression::compile(&long);
    }
    let wide = vec!["event.type == 'a'"; 90].join(" || ");
    assert_eq!(evaluate(&wide, &order()), Ok(false), "many alternatives are not deep");
}

/// A list of so many numbers.
fn numbers(count: usize) -> Values {
    values(&format!("[{}]", vec!["0"; count].join(",")))
}

#[test]
fn macros_end_when_their_budget_is_spent() {
    let nested = "event.data.all(a, event.data.all(b, event.data.all(c, a + b + c == 0)))";
    assert_eq!(evaluate(nested, &numbers(10)), Ok(true));
    assert_eq!(evaluate(nested, &numbers(1000)), Err(Failure::TooExpensive));
    assert_eq!(evaluate("event.data.all(a, a == 0)", &numbers(5000)), Ok(true), "a long list is no trouble");
    let absorbed = format!("{nested} || true");
    assert_eq!(evaluate(&absorbed, &numbers(1000)), Err(Failure::TooExpensive));
}

/// The worst that could be thought of, within the bounds. Told, not judged: `cargo test worst -- --nocapture --ignored`.
#[test]
#[ignore = "a measurement"]
fn the_worst_expressions_take_so_long() {
    let text = format!(r#"{{"t":"{}","l":[{}]}}"#, "a".repeat(30_000), vec!["0"; 17_000].join(","));
    let mixed = values(&text);
    let same = vec!["event.data==event.data"; 80].join("&&");
    let in_loop = format!("event.data.l.all(x,{})", vec!["event.data.l==event.data.l"; 70].join("&&"));
    let sum = format!("event.data.l.all(x,{}==[])", vec!["event.data.l"; 17].join("+"));
    let literal = format!("[{0}].all(a,[{0}].all(b,[{0}].all(c,a+b+c>=0)))", vec!["1"; 300].join(","));
    let contains = format!("event.data.l.all(x,{})", vec!["!event.data.t.contains('aaaaaaaaaaaaaaaab')"; 40].join("&&"));
    let nested = "event.data.l.all(a,event.data.l.all(b,event.data.l.all(c,true)))".to_owned();
    let parsing = "(".repeat(24) + &"a?b:".repeat(400);
    for text in [same, in_loop, sum, literal, contains, nested, parsing, "((((".repeat(6) + &"a.b(c,".repeat(300)] {
        let start = Instant::now();
        let compiled = Expression::compile(&text);
        let compiling = start.elapsed();
        let start = Instant::now();
        let outcome = compiled.map(|expression| expression.evaluate(&mixed));
        println!("{:.40}: compiled in {compiling:?}, {:?} in {:?}", text, outcome.map_err(|wrong| wrong.message), start.elapsed());
    }
}

fn snippets() -> impl Strategy<Value = String> {
    let words = vec![
        "event",
        ".type",
        ".data",
        ".data.lines",
        "[0]",
        "['a-b']",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "==",
        "!=",
        "<",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "?",
        ":",
        ",",
        "1",
        "1u",
        "1.5",
        "'a'",
        "b'a'",
        "null",
        "true",
        "x",
        "in",
        "has(",
        ".all(x,",
        ".exists(x,",
        ".exists_one(x,",
        ".map(x,",
        "size(",
        "int(",
        "string(",
        ".contains(",
        "9223372036854775807",
        "-9223372036854775808",
        " ",
        "\n",
        "é",
        "dyn(",
        "type(",
        "bool(",
        "double(",
        "uint(",
    ];
    prop::collection::vec(prop::sample::select(words), 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![".{0,120}", snippets()]) {
        match Expression::compile(&text) {
            Ok(expression) => prop_assert_ne!(expression.evaluate(&order()), Err(Failure::Panic), "{}", text),
            Err(wrong) => prop_assert!(wrong.line >= 1 && wrong.column >= 1 && !wrong.message.is_empty()),
        }
    }

    #[test]
    fn any_json_is_read(text in r#"[\[\]{}:,"a0-9.e -]{0,60}"#) {
        let _ = evaluate("event.data == event.data", &values(&text));
    }
}
