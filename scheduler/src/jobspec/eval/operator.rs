//! Unary and binary operators.

use hcl_edit::expr::{BinaryOp, BinaryOperator as B, Expression, UnaryOp, UnaryOperator};
use model::driver_config::Value;

use super::{Result, Scope, equal, place_of, type_name, whole};
use crate::spec::{Error, Place};

impl Scope<'_> {
    pub(super) fn unary(&self, op: &UnaryOp) -> Result<Value> {
        match op.operator.value() {
            UnaryOperator::Not => Ok(Value::Bool(!self.condition(&op.expr)?)),
            UnaryOperator::Neg => match self.eval(&op.expr)? {
                Value::Int(i) => Ok(i.checked_neg().map_or(Value::Float(9_223_372_036_854_775_808.0), Value::Int)),
                v => Ok(whole(-self.amount(&v, &op.expr)?)),
            },
        }
    }

    pub(super) fn binary(&self, op: &BinaryOp, place: &Place) -> Result<Value> {
        let operator = *op.operator.value();
        match operator {
            B::And => return Ok(Value::Bool(self.condition(&op.lhs_expr)? && self.condition(&op.rhs_expr)?)),
            B::Or => return Ok(Value::Bool(self.condition(&op.lhs_expr)? || self.condition(&op.rhs_expr)?)),
            _ => {}
        }
        let (a, b) = (self.eval(&op.lhs_expr)?, self.eval(&op.rhs_expr)?);
        match operator {
            B::Eq => return Ok(Value::Bool(equal(&a, &b))),
            B::NotEq => return Ok(Value::Bool(!equal(&a, &b))),
            _ => {}
        }
        if let (Value::Int(x), Value::Int(y)) = (&a, &b)
            && let Some(v) = whole_numbers(operator, *x, *y)
        {
            return Ok(v);
        }
        let (x, y) = (self.amount(&a, &op.lhs_expr)?, self.amount(&b, &op.rhs_expr)?);
        fractions(operator, x, y).ok_or_else(|| Error::new(place, "this divides by zero"))
    }

    #[allow(clippy::cast_precision_loss, reason = "HCL numbers beyond 2^53 are not worth an error")]
    fn amount(&self, v: &Value, expr: &Expression) -> Result<f64> {
        let number = match v {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            Value::Str(s) => s.trim().parse().ok().filter(|f: &f64| f.is_finite()),
            _ => None,
        };
        number.ok_or_else(|| {
            let what = if matches!(v, Value::Str(s) if s.starts_with("${")) {
                "a value that only exists at run time".to_owned()
            } else {
                type_name(v).to_owned()
            };
            Error::new(&place_of(expr), format!("this must be a number, but it is {what}"))
        })
    }
}

/// Exact arithmetic where it stays exact; `None` hands over to fractions.
fn whole_numbers(op: B, x: i64, y: i64) -> Option<Value> {
    match op {
        B::Plus => x.checked_add(y).map(Value::Int),
        B::Minus => x.checked_sub(y).map(Value::Int),
        B::Mul => x.checked_mul(y).map(Value::Int),
        B::Mod => x.checked_rem(y).map(Value::Int),
        B::Div if y != 0 && x % y == 0 => x.checked_div(y).map(Value::Int),
        B::Less => Some(Value::Bool(x < y)),
        B::LessEq => Some(Value::Bool(x <= y)),
        B::Greater => Some(Value::Bool(x > y)),
        B::GreaterEq => Some(Value::Bool(x >= y)),
        _ => None,
    }
}

fn fractions(op: B, x: f64, y: f64) -> Option<Value> {
    Some(match op {
        B::Plus => whole(x + y),
        B::Minus => whole(x - y),
        B::Mul => whole(x * y),
        B::Div if y == 0.0 => return None,
        B::Div => whole(x / y),
        B::Mod if y == 0.0 => return None,
        B::Mod => whole(x % y),
        B::Less => Value::Bool(x < y),
        B::LessEq => Value::Bool(x <= y),
        B::Greater => Value::Bool(x > y),
        B::GreaterEq => Value::Bool(x >= y),
        B::Eq | B::NotEq | B::And | B::Or => return None,
    })
}
