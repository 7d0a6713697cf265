//! `Pattern`: a text of a policy with `*`, `?` and policy variables, matched without recursion.

use super::Scene;
use super::names::{condition_key, is_existing_tag};
use std::borrow::Cow;

/// Which signs of a text mean more than themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${…}`, which only the version 2012-10-17 of the language has.
    pub(super) variables: bool,
}

/// A text to compare others with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    glyphs: Box<[Glyph]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Glyph {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any characters, or none.
    Run,
    /// What the request says.
    Variable(Box<Variable>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    key: String,
    default: Option<String>,
}

impl Pattern {
    /// Reads a text; a wrong variable is answered with what is wrong.
    pub(super) fn parse(text: &str, signs: Signs) -> Result<Self, String> {
        let mut glyphs = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if signs.variables
                && let Some(opened) = rest.strip_prefix("${")
            {
                let (inner, after) = opened.split_once('}').ok_or("the policy variable is not closed by '}'")?;
                glyphs.push(variable(inner)?);
                rest = after;
                continue;
            }
            glyphs.push(match letter {
                '*' if signs.wildcards => Glyph::Run,
                '?' if signs.wildcards => Glyph::One,
                letter => Glyph::Char(letter),
            });
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
        Ok(Self { glyphs: glyphs.into() })
    }

    /// The parts between the first `count - 1` colons; `None` when there are fewer.
    pub(super) fn split_colons(&self, count: usize) -> Option<Vec<Self>> {
        let parts = self.glyphs.splitn(count, |glyph| *glyph == Glyph::Char(':'));
        let parts: Vec<Self> = parts.map(|part| Self { glyphs: part.into() }).collect();
        (parts.len() == count).then_some(parts)
    }

    /// Whether `text` is what the pattern means in this request. A variable without a value means nothing.
    ///
    /// Costs at most the length of the text times that of the pattern.
    pub(super) fn matches(&self, text: &str, scene: &Scene<'_>) -> bool {
        self.filled(scene, text.len()).is_some_and(|glyphs| glob(&glyphs, text))
    }

    /// The same without regard to case.
    pub(super) fn matches_any_case(&self, text: &str, scene: &Scene<'_>) -> bool {
        let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
        let folded = |glyphs: Cow<'_, [Glyph]>| -> Vec<Glyph> {
            let fold = |glyph: &Glyph| match glyph {
                Glyph::Char(letter) => letter.to_lowercase().map(Glyph::Char).collect(),
                other => vec![other.clone()],
            };
            glyphs.iter().flat_map(fold).collect()
        };
        let text = fold(text);
        self.filled(scene, text.len()).is_some_and(|glyphs| glob(&folded(glyphs), &text))
    }

    /// Whether `text` is what the pattern means in some request.
    pub(super) fn could_be(&self, text: &str) -> bool {
        let open = self.glyphs.iter().map(|glyph| match glyph {
            Glyph::Variable(_) => Glyph::Run,
            other => other.clone(),
        });
        glob(&open.collect::<Vec<_>>(), text)
    }

    /// Whether the pattern means, in some request, some text that begins with `prefix`.
    pub(super) fn could_begin_with(&self, prefix: &str) -> bool {
        // Which places in the pattern the letters so far can have led to.
        let mut places = vec![false; self.glyphs.len() + 1];
        places[0] = true;
        self.pass_runs(&mut places);
        for letter in prefix.chars() {
            let mut next = vec![false; places.len()];
            for (at, glyph) in self.glyphs.iter().enumerate().filter(|(at, _)| places[*at]) {
                match glyph {
                    Glyph::Run | Glyph::Variable(_) => next[at] = true,
                    Glyph::One => next[at + 1] = true,
                    Glyph::Char(own) => next[at + 1] |= *own == letter,
                }
            }
            self.pass_runs(&mut next);
            places = next;
        }
        places.contains(&true)
    }

    /// Adds the places behind runs: a run may be empty.
    fn pass_runs(&self, places: &mut [bool]) {
        for (at, glyph) in self.glyphs.iter().enumerate() {
            places[at + 1] |= places[at] && matches!(glyph, Glyph::Run | Glyph::Variable(_));
        }
    }

    /// Whether it means one text only, whatever the request. A `*` or `?` that stands for itself counts as open.
    pub(super) fn is_fixed(&self) -> bool {
        self.glyphs.iter().all(|glyph| matches!(glyph, Glyph::Char(letter) if !matches!(letter, '*' | '?')))
    }

    /// Whether a variable of it is a tag of the object.
    pub(super) fn asks_existing_tag(&self) -> bool {
        self.glyphs.iter().any(|glyph| matches!(glyph, Glyph::Variable(variable) if is_existing_tag(&variable.key)))
    }

    /// With the variables replaced by what the request says; what it says holds no wildcards. `None` when a variable
    /// has no value, or when the variables alone come to more than `letters_max`: what a request says may
    /// be long, and a policy may say it often.
    fn filled(&self, scene: &Scene<'_>, letters_max: usize) -> Option<Cow<'_, [Glyph]>> {
        if !self.glyphs.iter().any(|glyph| matches!(glyph, Glyph::Variable(_))) {
            return Some(Cow::Borrowed(&self.glyphs));
        }
        let mut filled = Vec::with_capacity(self.glyphs.len());
        let mut needed = 0;
        for glyph in &self.glyphs {
            match glyph {
                Glyph::Variable(variable) => {
                    let value = variable.value(scene)?;
                    needed += value.chars().count();
                    if needed > letters_max {
                        return None;
                    }
                    filled.extend(value.chars().map(Glyph::Char));
                }
                other => filled.push(other.clone()),
            }
        }
        Some(Cow::Owned(filled))
    }
}

impl Variable {
    /// Only a key with a single value can be put into a text.
    fn value(&self, scene: &Scene<'_>) -> Option<String> {
        match scene.values(&self.key).as_deref() {
            Some([only]) => Some(only.clone()),
            None | Some([]) => self.default.clone(),
            Some(_) => None,
        }
    }
}

/// What stands between `${` and `}`: `*`, `?` or `$` for themselves, or a condition key, perhaps with a default as in
/// `${aws:username, 'nobody'}`.
fn variable(inner: &str) -> Result<Glyph, String> {
    if let "*" | "?" | "$" = inner {
        return Ok(inner.chars().next().map_or(Glyph::Run, Glyph::Char));
    }
    let (name, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            (name, Some(quoted.ok_or("the default of a policy variable stands between single quotes")?))
        }
    };
    let key = condition_key(name.trim()).ok_or_else(|| {
        let shown: String = name.chars().take(128).collect();
        format!("there is no policy variable {shown:?}")
    })?;
    Ok(Glyph::Variable(Box::new(Variable { key, default: default.map(Into::into) })))
}

/// Whether the text is what the glyphs say. After a mismatch only the last run takes one letter more: what runs before
/// it took stays, since the earliest fit of what stands between two runs leaves the most to the rest.
fn glob(glyphs: &[Glyph], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut last_run = None;
    loop {
        let mut tail = rest.clone();
        let fits = match (glyphs.get(at), tail.next()) {
            (Some(Glyph::Run), _) => {
                at += 1;
                last_run = Some((at, rest.clone()));
                continue;
            }
            (None, None) => return true,
            // What is left of the pattern needs a letter, and from a later start there would be fewer.
            (Some(_), None) => return false,
            (Some(Glyph::Char(own)), Some(letter)) => *own == letter,
            (Some(Glyph::One), Some(_)) => true,
            // Variables are filled in before.
            (None | Some(Glyph::Variable(_)), Some(_)) => false,
        };
        if fits {
            at += 1;
            rest = tail;
            continue;
        }
        let Some((after, from)) = &mut last_run else { return false };
        from.next();
        (at, rest) = (*after, from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WILDCARDS: Signs = Signs { wildcards: true, variables: false };

    /// The meaning of a pattern, written for its obviousness.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', after)), _) => (0..=text.len()).any(|taken| model(after, &text[taken..])),
            (Some((own, after)), Some((letter, rest))) => (*own == '?' || own == letter) && model(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_like_the_model(pattern in "[abä*?]{0,10}", text in "[abä]{0,12}") {
            let (letters, against): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let parsed = Pattern::parse(&pattern, WILDCARDS).unwrap();
            prop_assert_eq!(parsed.could_be(&text), model(&letters, &against));
        }

        #[test]
        fn a_beginning_is_possible_exactly_when_some_end_fits(pattern in "[ab*?]{0,5}", prefix in "[ab]{0,3}") {
            let letters: Vec<char> = pattern.chars().collect();
            // Ends over the letters of the pattern are enough, and none needs to be longer than the pattern.
            let mut ends = vec![String::new()];
            let mut possible = false;
            for _ in 0..=letters.len() {
                possible |= ends.iter().any(|end| {
                    model(&letters, &format!("{prefix}{end}").chars().collect::<Vec<_>>())
                });
                ends = ends.iter().flat_map(|end| ["a", "b"].map(|letter| format!("{end}{letter}"))).collect();
            }
            let parsed = Pattern::parse(&pattern, WILDCARDS).unwrap();
            prop_assert_eq!(parsed.could_begin_with(&prefix), possible);
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "[$*?{}',a:/ä]{0,20}") {
            drop(Pattern::parse(&text, Signs { wildcards: true, variables: true }));
        }
    }

    #[test]
    fn many_runs_cost_no_more_than_length_times_length() {
        let pattern = Pattern::parse(&format!("{}b", "a*".repeat(5_000)), WILDCARDS).unwrap();
        assert!(!pattern.could_be(&"a".repeat(10_000)));
        let pattern = Pattern::parse(&format!("*{}b*", "a".repeat(2_000)), WILDCARDS).unwrap();
        assert!(!pattern.could_be(&"a".repeat(4_000)));
    }

    #[test]
    fn variables_are_read_or_refused() {
        let signs = Signs { wildcards: true, variables: true };
        for (text, fine) in [
            ("home/${aws:username}/*", true),
            ("${AWS:UserName}", true),
            ("${*}${?}${$}", true),
            ("${aws:username, 'nobody'}", true),
            ("${s3:ExistingObjectTag/Team}", true),
            ("$5 and {braces}", true),
            ("${aws:username", false),
            ("${aws:usernam}", false),
            ("${}", false),
            ("${aws:username, nobody}", false),
        ] {
            assert_eq!(Pattern::parse(text, signs).is_ok(), fine, "{text}");
        }
        let plain = Pattern::parse("${aws:username", WILDCARDS).unwrap();
        assert!(plain.could_be("${aws:username"), "the older version of the language has no variables");
    }
}
