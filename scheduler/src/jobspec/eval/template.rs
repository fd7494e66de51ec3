//! Text with `${…}` and `%{…}` inside.

use hcl_edit::{
    expr::Expression,
    template::{Directive, Element, ForDirective, IfDirective, StringTemplate, Template},
};
use model::driver_config::Value;

use super::{Result, Scope, or_place, place_of, text_of, type_name};
use crate::spec::{Error, Place};

impl Scope<'_> {
    /// A quoted template; one that is nothing but `${…}` keeps the type of its value.
    pub(super) fn template_value(&self, t: &StringTemplate, place: &Place) -> Result<Value> {
        match t.as_single_element() {
            Some(Element::Interpolation(i)) => self.eval(&i.expr),
            _ => self.render(t, place).map(Value::Str),
        }
    }

    pub fn render(&self, t: &Template, place: &Place) -> Result<String> {
        let mut out = String::new();
        self.render_into(t, (false, false), place, &mut out)?;
        self.spend(out.len(), place)?;
        Ok(out)
    }

    /// `trim` says whether markers around the template (`~`) eat the blanks at its two ends.
    fn render_into(&self, t: &Template, trim: (bool, bool), place: &Place, out: &mut String) -> Result<()> {
        let elements: Vec<&Element> = t.iter().collect();
        for (i, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let before = i.checked_sub(1).map_or(trim.0, |p| trims_after(elements[p]));
                    let after = elements.get(i + 1).map_or(trim.1, |n| trims_before(n));
                    let mut text = text.value().as_str();
                    if before {
                        text = trim_first_line(text);
                    }
                    if after {
                        text = trim_last_line(text);
                    }
                    out.push_str(text);
                }
                Element::Interpolation(i) => out.push_str(&self.interpolated(&i.expr, place)?),
                Element::Directive(d) => match &**d {
                    Directive::If(d) => self.if_directive(d, place, out)?,
                    Directive::For(d) => self.for_directive(d, place, out)?,
                },
            }
            self.spend(1, place)?;
        }
        Ok(())
    }

    fn interpolated(&self, expr: &Expression, place: &Place) -> Result<String> {
        let v = self.eval(expr)?;
        text_of(&v).ok_or_else(|| {
            let at = or_place(place_of(expr), place);
            Error::new(
                &at,
                format!("text cannot include {}; pick one element, or use join() or jsonencode()", type_name(&v)),
            )
        })
    }

    fn if_directive(&self, d: &IfDirective, place: &Place, out: &mut String) -> Result<()> {
        let head = &d.if_expr;
        let end = d.endif_expr.strip.strip_start();
        let middle = d.else_expr.as_ref();
        if self.condition(&head.cond_expr)? {
            let stop = middle.map_or(end, |e| e.strip.strip_start());
            return self.render_into(&head.template, (head.strip.strip_end(), stop), place, out);
        }
        middle.map_or(Ok(()), |e| self.render_into(&e.template, (e.strip.strip_end(), end), place, out))
    }

    fn for_directive(&self, d: &ForDirective, place: &Place, out: &mut String) -> Result<()> {
        let head = &d.for_expr;
        let trim = (head.strip.strip_end(), d.endfor_expr.strip.strip_start());
        for names in self.iterations(&head.collection_expr, head.key_var.as_deref(), &head.value_var)? {
            let before = out.len();
            self.with(names).render_into(&head.template, trim, place, out)?;
            self.spend(out.len() - before, place)?;
        }
        Ok(())
    }
}

fn trims_before(e: &Element) -> bool {
    match e {
        Element::Literal(_) => false,
        Element::Interpolation(i) => i.strip.strip_start(),
        Element::Directive(d) => match &**d {
            Directive::If(d) => d.if_expr.strip.strip_start(),
            Directive::For(d) => d.for_expr.strip.strip_start(),
        },
    }
}

fn trims_after(e: &Element) -> bool {
    match e {
        Element::Literal(_) => false,
        Element::Interpolation(i) => i.strip.strip_end(),
        Element::Directive(d) => match &**d {
            Directive::If(d) => d.endif_expr.strip.strip_end(),
            Directive::For(d) => d.endfor_expr.strip.strip_end(),
        },
    }
}

/// Blanks at the start, up to and with the first line break.
fn trim_first_line(text: &str) -> &str {
    let blanks = text.trim_start_matches([' ', '\t', '\r']);
    blanks.strip_prefix('\n').unwrap_or(blanks)
}

/// Blanks at the end, back to the last line break.
fn trim_last_line(text: &str) -> &str {
    text.trim_end_matches([' ', '\t', '\r'])
}
