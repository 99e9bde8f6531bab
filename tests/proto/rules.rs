//! A strict matcher of CBOR against the rules of `proto/*.cddl`.
//!
//! The `cddl` crate reads the rules, so their syntax is RFC 8610's. Its own validator is not used: of these structures it
//! passes an unknown act, an unknown role and a text in place of bytes, and refuses `title / null`. The matcher here knows what
//! the files use and **panics on any other construct**, so that no rule can go unchecked.

use cddl::ast::{CDDL, Group, GroupEntry, MemberKey, Occur, Operator, RangeCtlOp, Rule, Type, Type1, Type2};
use cddl::token::ControlOperator;
use ciborium::Value;

/// The rules of some CDDL text.
pub struct Rules<'a>(&'a CDDL<'a>);

type Matched = Result<(), String>;
type Matcher<'b> = Box<dyn Fn(&Value) -> Matched + 'b>;

fn no<T>(wanted: impl std::fmt::Display, got: &Value) -> Result<T, String> {
    let mut got = format!("{got:?}");
    got.truncate(got.char_indices().nth(80).map_or(got.len(), |(end, _)| end));
    Err(format!("expected {wanted}, found {got}"))
}

impl<'a> Rules<'a> {
    /// Over parsed text.
    pub fn new(cddl: &'a CDDL<'a>) -> Self {
        Self(cddl)
    }

    /// The names of all rules.
    pub fn names(&self) -> Vec<&str> {
        self.0.rules.iter().map(|rule| type_rule(rule).0).collect()
    }

    /// Whether `bytes` are one value of the rule `name`.
    pub fn check(&self, name: &str, bytes: &[u8]) -> Matched {
        let mut rest = bytes;
        let value = ciborium::from_reader(&mut rest).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes too many", rest.len()));
        }
        self.named(name, &value).map_err(|error| format!("{name}: {error}"))
    }

    fn named(&self, name: &str, value: &Value) -> Matched {
        let fits = match (name, value) {
            ("uint", Value::Integer(number)) => u64::try_from(*number).is_ok(),
            ("bstr", Value::Bytes(_)) | ("tstr", Value::Text(_)) => true,
            ("bool", Value::Bool(_)) | ("null", Value::Null) => true,
            ("uint" | "bstr" | "tstr" | "bool" | "null", _) => false,
            _ => {
                let rule = self.0.rules.iter().map(type_rule).find(|(other, _)| *other == name);
                let (_, rule) = rule.unwrap_or_else(|| panic!("there is no rule {name}"));
                return self.any_of(rule, value).map_err(|error| format!("{name}: {error}"));
            }
        };
        if fits { Ok(()) } else { no(name, value) }
    }

    fn any_of(&self, choices: &Type<'_>, value: &Value) -> Matched {
        let mut errors = Vec::new();
        for choice in &choices.type_choices {
            match self.type1(&choice.type1, value) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        Err(errors.join("; or "))
    }

    fn type1(&self, type1: &Type1<'_>, value: &Value) -> Matched {
        match &type1.operator {
            None => self.type2(&type1.type2, value),
            Some(Operator { operator: RangeCtlOp::RangeOp { is_inclusive: true, .. }, type2: upper, .. }) => {
                let (lower, upper) = (uint(&type1.type2), uint(upper));
                match value {
                    Value::Integer(number) if (lower..=upper).contains(&i128::from(*number)) => Ok(()),
                    _ => no(format_args!("{lower}..{upper}"), value),
                }
            }
            Some(Operator { operator: RangeCtlOp::CtlOp { ctrl, .. }, type2: by, .. }) => {
                self.type2(&type1.type2, value)?;
                self.controlled(ctrl, by, value)
            }
            Some(other) => panic!("the operator {other:?} is not known here"),
        }
    }

    fn controlled(&self, control: &ControlOperator, by: &Type2<'_>, value: &Value) -> Matched {
        let fits = match (control, value) {
            (ControlOperator::SIZE, Value::Bytes(bytes)) => sizes(by).contains(&bytes.len()),
            (ControlOperator::SIZE, Value::Text(text)) => sizes(by).contains(&text.len()),
            (ControlOperator::GE, Value::Integer(number)) => i128::from(*number) >= uint(by),
            (ControlOperator::REGEXP, Value::Text(text)) => match by {
                Type2::TextValue { value: pattern, .. } => matches(pattern, text),
                other => panic!("the pattern {other:?} is not known here"),
            },
            (ControlOperator::CBOR, Value::Bytes(bytes)) => match by {
                Type2::Typename { ident, .. } => return self.check(ident.ident, bytes),
                other => panic!("the content {other:?} is not known here"),
            },
            (other, _) => panic!("the control {other:?} is not known here"),
        };
        if fits { Ok(()) } else { no(format_args!("{control} {by}"), value) }
    }

    fn type2(&self, type2: &Type2<'_>, value: &Value) -> Matched {
        match (type2, value) {
            (Type2::Typename { ident, .. }, _) => self.named(ident.ident, value),
            (Type2::UintValue { .. }, Value::Integer(number)) if i128::from(*number) == uint(type2) => Ok(()),
            (Type2::TextValue { value: word, .. }, Value::Text(text)) if text == word.as_ref() => Ok(()),
            (Type2::Array { group, .. }, Value::Array(elements)) => self.array(group, elements),
            (Type2::Map { group, .. }, Value::Map(entries)) => self.map(group, entries),
            (Type2::UintValue { .. } | Type2::TextValue { .. } | Type2::Array { .. } | Type2::Map { .. }, _) => {
                no(type2, value)
            }
            (other, _) => panic!("the type {other:?} is not known here"),
        }
    }

    /// Matches elements to entries one after the other; an entry takes as many as it can.
    fn array(&self, group: &Group<'_>, elements: &[Value]) -> Matched {
        let mut rest = elements;
        for entry in entries(group) {
            let (occur, matches): (_, Matcher<'_>) = match entry {
                GroupEntry::ValueMemberKey { ge, .. } => {
                    (&ge.occur, Box::new(|value| self.any_of(&ge.entry_type, value)))
                }
                GroupEntry::TypeGroupname { ge, .. } => (&ge.occur, Box::new(|value| self.named(ge.name.ident, value))),
                other @ GroupEntry::InlineGroup { .. } => panic!("the group {other:?} is not known here"),
            };
            let (least, most) = match occur.as_ref().map(|occur| &occur.occur) {
                None => (1, 1),
                Some(Occur::Exact { lower, upper, .. }) => (lower.unwrap_or(0), upper.unwrap_or(usize::MAX)),
                Some(Occur::ZeroOrMore { .. }) => (0, usize::MAX),
                Some(other) => panic!("the occurrence {other} is not known here"),
            };
            let mut taken = 0;
            let mut error = format!("an element is missing for {entry}");
            while let Some((first, behind)) = rest.split_first() {
                if taken == most {
                    break;
                }
                if let Err(mismatch) = matches(first) {
                    error = format!("element {}: {mismatch}", elements.len() - rest.len());
                    break;
                }
                rest = behind;
                taken += 1;
            }
            if taken < least {
                return Err(error);
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{} elements too many, or wrong", rest.len())) }
    }

    /// Matches a map: its entries have words for keys, in the order of the rule, which is that of the encoding.
    fn map(&self, group: &Group<'_>, found: &[(Value, Value)]) -> Matched {
        let mut rest = found;
        for entry in entries(group) {
            let GroupEntry::ValueMemberKey { ge, .. } = entry else { panic!("the map {group} has {entry}") };
            let Some(MemberKey::Bareword { ident, .. }) = &ge.member_key else { panic!("{entry} has no word") };
            let is_optional = match ge.occur.as_ref().map(|occur| &occur.occur) {
                None => false,
                Some(Occur::Optional { .. }) => true,
                Some(other) => panic!("the occurrence {other} is not known here"),
            };
            match rest.split_first() {
                Some(((Value::Text(word), value), behind)) if word == ident.ident => {
                    self.any_of(&ge.entry_type, value).map_err(|error| format!("{word}: {error}"))?;
                    rest = behind;
                }
                _ if is_optional => {}
                _ => return Err(format!("expected an entry {}", ident.ident)),
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{} entries too many, or wrong", rest.len())) }
    }
}

fn type_rule<'b>(rule: &'b Rule<'_>) -> (&'b str, &'b Type<'b>) {
    match rule {
        Rule::Type { rule, .. } => (rule.name.ident, &rule.value),
        Rule::Group { rule, .. } => panic!("the group rule {} is not known here", rule.name),
    }
}

fn entries<'b>(group: &'b Group<'b>) -> Vec<&'b GroupEntry<'b>> {
    let [choice] = group.group_choices.as_slice() else { panic!("the choice {group} is not known here") };
    choice.group_entries.iter().map(|(entry, _)| entry).collect()
}

fn uint(type2: &Type2<'_>) -> i128 {
    match type2 {
        Type2::UintValue { value, .. } => *value as i128,
        other => panic!("{other} is no number"),
    }
}

/// The lengths that `.size` allows: a number, or a range in parentheses.
fn sizes(by: &Type2<'_>) -> std::ops::RangeInclusive<usize> {
    let size = |type2: &Type2<'_>| usize::try_from(uint(type2)).unwrap();
    match by {
        Type2::UintValue { .. } => size(by)..=size(by),
        Type2::ParenthesizedType { pt, .. } => match pt.type_choices.as_slice() {
            [choice] => {
                let upper = choice.type1.operator.as_ref().unwrap_or_else(|| panic!("{pt} is no range"));
                size(&choice.type1.type2)..=size(&upper.type2)
            }
            _ => panic!("{pt} is no range"),
        },
        other => panic!("the size {other:?} is not known here"),
    }
}

/// Matches `[characters]{least,most}`, the one form of pattern that the rules use. Ranges of characters as in `A-Z`.
fn matches(pattern: &str, text: &str) -> bool {
    let parse = || {
        let (class, count) = pattern.strip_prefix('[')?.split_once(']')?;
        let (least, most) = count.strip_prefix('{')?.strip_suffix('}')?.split_once(',')?;
        Some((class, least.parse::<usize>().ok()?, most.parse::<usize>().ok()?))
    };
    let (class, least, most) = parse().unwrap_or_else(|| panic!("the pattern {pattern} is not known here"));
    let mut allowed = String::new();
    let mut rest: Vec<char> = class.chars().collect();
    while let Some(first) = rest.first().copied() {
        if let [_, '-', last, ..] = rest[..] {
            allowed.extend(first..=last);
            rest.drain(..3);
        } else {
            allowed.push(first);
            rest.remove(0);
        }
    }
    (least..=most).contains(&text.chars().count()) && text.chars().all(|c| allowed.contains(c))
}

#[test]
fn the_matcher_tells_what_fits_from_what_does_not() {
    let text = "a = [n: 1..3, w: name, l: [*2 b], o: uint .ge 2 / null]\n\
        b = { x: bstr .size 2 } / \"y\" / { ? v: bool, ? w: uint }\n\
        name = tstr .regexp \"[a-c:-]{1,2}\"\n";
    let parsed = cddl::cddl_from_str(text, true).unwrap();
    let rules = Rules::new(&parsed);
    for (fits, bytes, why) in [
        (true, "84 01 6161 80 f6", "the least of each"),
        (true, "84 03 623a2d 82 a16178420102 6179 02", "the most of each"),
        (true, "84 01 6161 81a0 f6", "none of two entries"),
        (true, "84 01 6161 82a16177 02a2 6176f5 617700 f6", "one of two entries, and both"),
        (false, "84 01 6161 81a2617700 6176f5 f6", "two entries in another order"),
        (false, "84 01 6161 81a1617afa f6", "an entry of another name"),
        (false, "84 01 6161 81a1617600 f6", "a number for true or false"),
        (false, "84 04 6161 80 f6", "n above its range"),
        (false, "84 01 6164 80 f6", "another character"),
        (false, "84 01 63616161 80 f6", "three characters"),
        (false, "84 01 6161 83617961796179 f6", "three in the list"),
        (false, "84 01 6161 81617a f6", "another word"),
        (false, "84 01 6161 81a161784101 f6", "one byte of two"),
        (false, "84 01 6161 80 01", "o below its bound"),
        (false, "83 01 6161 80", "one too few"),
        (false, "85 01 6161 80 f6f6", "one too many"),
        (false, "84 01 6161 80 f6 00", "a trailing byte"),
    ] {
        assert_eq!(rules.check("a", &hex::decode(bytes.replace(' ', "")).unwrap()).is_ok(), fits, "{why}");
    }
}
