//! What a script does, as a graph for people and for the management API: streams, the steps of each statement, sinks.

use crate::Script;
use crate::grammar::shortened;

/// The longest description of a step.
const DESCRIPTION_BYTES_MAX: usize = 300;

/// What a step does with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// Takes them from a stream.
    Source,
    /// Keeps those for which a condition is true.
    Filter,
    /// Makes the columns anew.
    Projection,
    /// Makes one row of each element of a list.
    Unnest,
    /// Hands them to a sink.
    Sink,
}

impl StepKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Source, Self::Filter, Self::Projection, Self::Unnest, Self::Sink];

    /// A word in lower case, as metrics and graphs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Filter => "filter",
            Self::Projection => "projection",
            Self::Unnest => "unnest",
            Self::Sink => "sink",
        }
    }
}

/// A step as the text has it.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    kind: StepKind,
    description: String,
}

impl Outline {
    pub(crate) fn new(kind: StepKind, description: &str) -> Self {
        Self { kind, description: described(description) }
    }
}

/// A description that is not too long.
pub(crate) fn described(text: &str) -> String {
    shortened(text.to_owned(), DESCRIPTION_BYTES_MAX)
}

/// A step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 0, in the order of the nodes.
    pub id: usize,
    /// What it does.
    pub kind: StepKind,
    /// With what: the stream, the condition, the columns, the sink.
    pub description: String,
}

/// Rows go from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The id of the node they leave.
    pub source: usize,
    /// The id of the node they reach.
    pub target: usize,
}

/// The steps of a script and how rows pass through them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// One source for each stream, however many statements read it.
    pub nodes: Vec<Node>,
    /// Every node but the sources is reached by one, a sink by one for each statement that feeds it.
    pub edges: Vec<Edge>,
}

/// The graph of a script, before its streams are known. Steps that planning joins are still separate here.
pub fn explain(script: &Script) -> Graph {
    let mut graph = Graph::default();
    for statement in script.statements() {
        let mut last = graph.shared(StepKind::Source, statement.stream());
        for outline in statement.outline.iter().filter(|outline| outline.kind != StepKind::Source) {
            let node = graph.node(outline.kind, &outline.description);
            graph.edges.push(Edge { source: last, target: node });
            last = node;
        }
        let sink = graph.shared(StepKind::Sink, statement.sink().unwrap_or_default());
        graph.edges.push(Edge { source: last, target: sink });
    }
    graph
}

impl Graph {
    fn node(&mut self, kind: StepKind, description: &str) -> usize {
        let id = self.nodes.len();
        self.nodes.push(Node { id, kind, description: description.to_owned() });
        id
    }

    fn shared(&mut self, kind: StepKind, name: &str) -> usize {
        match self.nodes.iter().find(|node| node.kind == kind && node.description == name) {
            Some(node) => node.id,
            None => self.node(kind, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_share_streams_and_sinks_and_have_steps_of_their_own() {
        let script = Script::parse(
            "INSERT INTO a SELECT x FROM (SELECT * FROM s WHERE x > 1) WHERE y = 2; \
             INSERT INTO b SELECT unnest(tags) AS tag FROM s; INSERT INTO a SELECT x FROM t",
        )
        .unwrap();
        let graph = explain(&script);
        let nodes: Vec<String> =
            graph.nodes.iter().map(|node| format!("{} {}", node.kind.name(), node.description)).collect();
        assert_eq!(
            nodes,
            [
                "source s",
                "filter x > 1",
                "projection *",
                "filter y = 2",
                "projection x",
                "sink a",
                "unnest one row for each element of a list",
                "projection unnest(tags) AS tag",
                "sink b",
                "source t",
                "projection x",
            ]
        );
        let edges: Vec<(usize, usize)> = graph.edges.iter().map(|edge| (edge.source, edge.target)).collect();
        assert_eq!(edges, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 6), (6, 7), (7, 8), (9, 10), (10, 5)]);
    }

    #[test]
    fn a_bare_select_goes_to_the_sink_without_a_name() {
        let graph = explain(&Script::parse("SELECT * FROM s").unwrap());
        assert_eq!(graph.nodes.last().map(|node| (node.kind, node.description.as_str())), Some((StepKind::Sink, "")));
    }
}
