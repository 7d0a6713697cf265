//! The functions of transforms: those of DataFusion, the ones that make values grow with a bound around them, and those that
//! read JSON.

use crate::bounded::{Growth, bounded};
use crate::json;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::ScalarUDF;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What depends on files or on DataFusion itself, or writes marks of columns.
const LEFT_OUT: [&str; 6] =
    ["version", "input_file_name", "file_row_index", "arrow_metadata", "with_metadata", "arrow_field"];

/// Functions whose values may be much larger than what they are made of.
const GROWING: &[(&str, Growth)] = &[
    ("repeat", Growth::Repeat),
    ("lpad", Growth::Pad),
    ("rpad", Growth::Pad),
    ("replace", Growth::Replace),
    ("regexp_replace", Growth::RegexReplace),
    ("translate", Growth::Scaled(4)),
    ("encode", Growth::Scaled(2)),
    ("overlay", Growth::Sum),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Joined),
    ("to_char", Growth::Format),
    ("levenshtein", Growth::Distance),
    ("make_array", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_append", Growth::Sum),
    ("array_prepend", Growth::Sum),
    ("array_union", Growth::Sum),
    ("array_repeat", Growth::ListRepeat),
    ("array_resize", Growth::ListResize),
    ("array_to_string", Growth::ListJoined),
    ("range", Growth::Range),
    ("generate_series", Growth::Range),
];

/// Functions by name, in lower case, aliases included.
#[derive(Debug)]
pub(crate) struct Functions {
    named: BTreeMap<String, Arc<ScalarUDF>>,
}

impl Functions {
    pub(crate) fn new(options: &ConfigOptions) -> Self {
        let all = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions())
            .chain(json::functions())
            .filter(|function| !LEFT_OUT.contains(&function.name()));
        let mut named = BTreeMap::new();
        for function in all {
            let function = function.inner().with_updated_config(options).map_or(function, Arc::new);
            let growth = GROWING.iter().find(|(name, _)| *name == function.name());
            let function = growth.map_or_else(|| Arc::clone(&function), |(_, growth)| bounded(&function, *growth));
            for alias in function.aliases() {
                named.insert(alias.clone(), Arc::clone(&function));
            }
            named.insert(function.name().to_owned(), function);
        }
        Self { named }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.named.get(&name.to_ascii_lowercase()).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
