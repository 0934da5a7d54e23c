//! The validation rules. Each is one row: where it applies, the CEL that an API server evaluates, its message, and the same in Rust.
//!
//! The generator puts the CEL into the schema as `x-kubernetes-validations`; [`super::validate()`] calls the Rust function at the same
//! place. Both are run against every row of the reference of refusals.

mod filters;
mod helpers;
mod sink;
mod spec;

use serde_json::{Value, json};
pub(crate) use sink::{credentials_may_go_to, is_plain, wrong_uri};
use std::sync::LazyLock;

type Test = Box<dyn Fn(&Value) -> bool + Send + Sync>;
type Text = Box<dyn Fn(&Value) -> String + Send + Sync>;
type Change = fn(&Value, &Value) -> bool;

/// One rule.
pub struct Rule {
    /// Where in the schema: names joined by `.`, `[]` for the items of a list.
    pub path: String,
    /// The rule in CEL.
    pub rule: String,
    /// What is said where the message cannot be computed.
    pub message: String,
    /// What is said, in CEL and in Rust. The Rust function sees the old value in a rule about a change, else the new one.
    says: Option<(String, Text)>,
    /// The field that is to blame, below the path.
    pub field_path: Option<&'static str>,
    check: Check,
}

enum Check {
    /// About one value.
    Value(Test),
    /// About a change: new value, old value.
    Change(Change),
}

impl Rule {
    fn new(path: impl Into<String>, rule: impl Into<String>, message: impl Into<String>, check: Check) -> Rule {
        Rule { path: path.into(), rule: rule.into(), message: message.into(), says: None, field_path: None, check }
    }

    /// A rule about one value; `holds` is true if it is kept.
    fn value(
        path: impl Into<String>,
        rule: impl Into<String>,
        message: impl Into<String>,
        holds: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Rule {
        Rule::new(path, rule, message, Check::Value(Box::new(holds)))
    }

    /// A rule about a change from the second value to the first.
    fn change(path: &str, rule: &str, message: &str, holds: Change) -> Rule {
        Rule::new(path, rule, message, Check::Change(holds))
    }

    /// Computes the message: in CEL, and the same in Rust.
    fn says(mut self, expression: impl Into<String>, says: impl Fn(&Value) -> String + Send + Sync + 'static) -> Rule {
        self.says = Some((expression.into(), Box::new(says)));
        self
    }

    /// Blames a field below the path.
    fn on(mut self, field_path: &'static str) -> Rule {
        self.field_path = Some(field_path);
        self
    }

    /// The message, if the rule is broken. A rule about a change is kept where there is no old value.
    pub fn broken(&self, new: &Value, old: Option<&Value>) -> Option<String> {
        let (holds, subject) = match (&self.check, old) {
            (Check::Value(holds), _) => (holds(new), new),
            (Check::Change(_), None) => return None,
            (Check::Change(holds), Some(old)) => (holds(new, old), old),
        };
        (!holds).then(|| self.says.as_ref().map_or_else(|| self.message.clone(), |(_, says)| says(subject)))
    }

    /// As an item of `x-kubernetes-validations`.
    pub fn to_json(&self) -> Value {
        let mut json = json!({"rule": self.rule});
        if let Some((expression, _)) = &self.says {
            json["messageExpression"] = expression.as_str().into();
        }
        json["message"] = self.message.as_str().into();
        if let Some(field_path) = self.field_path {
            json["fieldPath"] = field_path.into();
        }
        json
    }
}

static ALL: LazyLock<Vec<Rule>> = LazyLock::new(|| [spec::rules(), filters::rules(), sink::rules()].into_iter().flatten().collect());

/// Every rule, in the order in which it is evaluated at its place.
pub fn all() -> &'static [Rule] {
    &ALL
}

/// The rules of one place in the schema.
pub fn at(path: &str) -> impl Iterator<Item = &'static Rule> {
    ALL.iter().filter(move |rule| rule.path == path)
}
