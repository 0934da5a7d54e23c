//! What an expression may consist of. Adds to each macro what it spends.

use super::budget;
use cel::common::ast::operators::{
    ADD, CONDITIONAL, EQUALS, IN, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NEGATE, NOT_EQUALS, NOT_STRICTLY_FALSE,
};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

/// The one variable.
pub(super) const EVENT: &str = "event";
/// Its member that holds the data.
const DATA: &str = "data";
/// Deepest nesting of the parts of an expression.
const MAX_DEPTH: usize = 64;
/// Most additions: strings and lists grow by them.
const MAX_ADDITIONS: usize = 16;
/// Names of types: `type(event.data) == map`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
/// Operators that take the same time for any values.
const LIGHT: [&str; 8] = [CONDITIONAL, LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT, NEGATE, INDEX, NOT_STRICTLY_FALSE, "type"];
/// Every other operator and function that is offered.
const OFFERED: [&str; 22] = [
    ADD,
    EQUALS,
    NOT_EQUALS,
    IN,
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "_>_",
    "_>=_",
    "_<_",
    "_<=_",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "bool",
    "double",
    "dyn",
    "int",
    "string",
    "uint",
];

/// What is wrong, and with which part.
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) message: String,
}

/// Checks an expression and adds what its macros spend; answers whether it looks at the data.
pub(super) fn check(root: &mut IdedExpr) -> Result<bool, Found> {
    let mut check = Check { scope: Vec::new(), additions: 0, wants_data: false };
    check.part(root, MAX_DEPTH)?;
    Ok(check.wants_data)
}

struct Check {
    /// Variables of the macros around.
    scope: Vec<String>,
    additions: usize,
    wants_data: bool,
}

fn found<T>(id: u64, message: impl Into<String>) -> Result<T, Found> {
    Err(Found { id, message: message.into() })
}

impl Check {
    fn part(&mut self, part: &mut IdedExpr, depth: usize) -> Result<(), Found> {
        let id = part.id;
        let Some(depth) = depth.checked_sub(1) else {
            return found(id, format!("it is nested deeper than {MAX_DEPTH}: split it into several filters"));
        };
        match &mut part.expr {
            Expr::Unspecified | Expr::Struct(_) => found(id, "messages are not offered"),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(id, name),
            Expr::Select(select) => self.select(select, depth),
            Expr::Call(call) => self.call(id, call, depth),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.part(element, depth)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => self.part(&mut entry.key, depth).and_then(|()| self.part(&mut entry.value, depth)),
                EntryExpr::StructField(_) => found(entry.id, "messages are not offered"),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension, depth),
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<(), Found> {
        if name == EVENT {
            return found(id, "event stands before an attribute or data: event.type, event.data.amount");
        }
        if self.scope.iter().any(|known| known == name) || TYPES.contains(&name) {
            return Ok(());
        }
        found(id, format!("there is no variable {name}; attributes are event.type, event.source …, JSON data is event.data"))
    }

    fn select(&mut self, select: &mut SelectExpr, depth: usize) -> Result<(), Found> {
        if self.is_member(&select.operand, &select.field) { Ok(()) } else { self.part(&mut select.operand, depth) }
    }

    /// Whether this is a member of `event`.
    fn is_member(&mut self, operand: &IdedExpr, member: &str) -> bool {
        let is_event = matches!(&operand.expr, Expr::Ident(name) if name == EVENT);
        self.wants_data |= is_event && member == DATA;
        is_event
    }

    fn call(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<(), Found> {
        let name = call.func_name.as_str();
        if !LIGHT.contains(&name) && !OFFERED.contains(&name) {
            return found(id, not_offered(name));
        }
        self.additions += usize::from(name == ADD);
        if self.additions > MAX_ADDITIONS {
            return found(id, format!("it has more than {MAX_ADDITIONS} additions"));
        }
        if let (INDEX, [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(member)), .. }]) = (name, call.args.as_slice())
            && self.is_member(operand, member.inner())
        {
            return Ok(());
        }
        let target = call.target.iter_mut().map(AsMut::as_mut);
        target.chain(&mut call.args).try_for_each(|part| self.part(part, depth))
    }

    fn comprehension(&mut self, id: u64, comprehension: &mut ComprehensionExpr, depth: usize) -> Result<(), Found> {
        let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result } = comprehension;
        if matches!(accu_init.expr, Expr::List(_)) || iter_var2.is_some() {
            return found(id, "map and filter are not offered; use all, exists or exists_one");
        }
        if iter_var == EVENT {
            return found(id, "event is the event; give the element another name");
        }
        self.part(iter_range, depth)?;
        self.part(accu_init, depth)?;
        let outer = self.scope.len();
        self.scope.extend([iter_var.clone(), accu_var.clone()]);
        for part in [&mut *loop_cond, loop_step, result] {
            self.part(part, depth)?;
        }
        self.scope.truncate(outer);
        spend(loop_cond, loop_step);
        Ok(())
    }
}

fn not_offered(name: &str) -> String {
    match name {
        "map" | "filter" => format!("{name} is not offered; use all, exists or exists_one"),
        "matches" => "matches is not offered; use startsWith, endsWith or contains".to_owned(),
        "timestamp" | "duration" => format!("{name} is not offered; event.time is text as RFC 3339 has it"),
        // no word of the language: an operator that only other versions of it have
        name if name.starts_with(['_', '@']) => "an operator in it is not offered".to_owned(),
        name => format!("there is no function {name}"),
    }
}

/// Lets each round pay before it begins.
fn spend(condition: &mut IdedExpr, step: &IdedExpr) {
    let mut size = Size::default();
    size.add(step);
    let id = condition.id;
    let price = Expr::Literal(LiteralValue::Int(budget::price(size.parts, size.heavy).into()));
    let call = |func_name: &str, args| IdedExpr { id, expr: Expr::Call(CallExpr { func_name: func_name.to_owned(), target: None, args }) };
    let pays = call(budget::SPEND, vec![IdedExpr { id, expr: price }]);
    let former = std::mem::take(condition);
    *condition = call(LOGICAL_AND, vec![pays, former]);
}

/// Whether it takes the same time for any values: so does a comparison with a literal.
fn is_light(call: &CallExpr) -> bool {
    let compares = matches!(call.func_name.as_str(), EQUALS | NOT_EQUALS);
    LIGHT.contains(&call.func_name.as_str()) || (compares && call.args.iter().any(|side| matches!(side.expr, Expr::Literal(_))))
}

/// How much there is in a body; the bodies of macros in it count once, as they pay for their own rounds.
#[derive(Default)]
struct Size {
    parts: u64,
    /// Operators and functions that may look at whole lists, maps and strings.
    heavy: u64,
}

impl Size {
    fn add(&mut self, part: &IdedExpr) {
        self.parts += 1;
        match &part.expr {
            Expr::Unspecified | Expr::Struct(_) | Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select(select) => self.add(&select.operand),
            Expr::Call(call) => {
                self.heavy += u64::from(!is_light(call));
                call.target.iter().for_each(|target| self.add(target));
                call.args.iter().for_each(|argument| self.add(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.add(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    self.add(&entry.key);
                    self.add(&entry.value);
                }
            }),
            Expr::Comprehension(inner) => {
                [&inner.iter_range, &inner.accu_init, &inner.loop_step, &inner.result].into_iter().for_each(|part| self.add(part));
            }
        }
    }
}
