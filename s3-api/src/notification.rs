//! Event notifications as S3 clients configure them: checked, and refused, as there is no destination here that an ARN could
//! name.

use s3s::dto;
use std::collections::HashSet;

/// The most configurations of a bucket.
const CONFIGURATIONS_MAX: usize = 100;
/// The longest id of a configuration.
const ID_CHARS_MAX: usize = 255;
/// The longest prefix or suffix: that of a key.
const FILTER_BYTES_MAX: usize = 1024;
/// The events there are, and their members.
const EVENTS: [(&str, &[&str]); 2] = [
    ("s3:ObjectCreated:", &["*", "Put", "Post", "Copy", "CompleteMultipartUpload"]),
    ("s3:ObjectRemoved:", &["*", "Delete", "DeleteMarkerCreated"]),
];

/// Why a configuration cannot be stored. The texts are answers to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotificationError {
    /// Too many configurations.
    #[error("A bucket has at most {CONFIGURATIONS_MAX} notification configurations")]
    TooMany,
    /// An id is too long.
    #[error("The ID of a notification configuration may have {ID_CHARS_MAX} characters")]
    IdTooLong,
    /// Two configurations have one id.
    #[error("Same ID used for multiple configurations. IDs must be unique")]
    IdTwice,
    /// Nothing is to be told.
    #[error("A notification configuration needs at least one Event.")]
    NoEvents,
    /// An event that is none, or that does not happen here.
    #[error(
        "The event is not supported for notifications: use s3:ObjectCreated:* or s3:ObjectRemoved:*, or one of their \
         members"
    )]
    UnknownEvent,
    /// A filter by something else than the key's ends.
    #[error("filter rule name must be either prefix or suffix")]
    UnknownFilter,
    /// Two rules about one end.
    #[error("Cannot specify more than one {name} rule in a filter.")]
    FilterTwice {
        /// `prefix` or `suffix`.
        name: &'static str,
    },
    /// A filter rule without its name or value.
    #[error("A FilterRule needs a Name and a Value.")]
    EmptyFilter,
    /// No key is that long.
    #[error("Size of filter rule value cannot exceed {FILTER_BYTES_MAX} bytes in UTF-8 representation")]
    FilterTooLong,
    /// There is no such destination.
    #[error("Unable to validate the following destination configurations")]
    NoDestination,
}

/// Refuses what is not well-formed, and then every destination; an empty configuration is the only one that passes.
pub(crate) fn check(asked: &dto::NotificationConfiguration) -> Result<(), NotificationError> {
    let queues = asked.queue_configurations.iter().flatten().map(|one| (&one.id, &one.events, &one.filter));
    let topics = asked.topic_configurations.iter().flatten().map(|one| (&one.id, &one.events, &one.filter));
    let functions = asked.lambda_function_configurations.iter().flatten();
    let functions = functions.map(|one| (&one.id, &one.events, &one.filter));
    let mut ids = HashSet::new();
    let mut count = 0;
    for (id, events, filter) in queues.chain(topics).chain(functions) {
        count += 1;
        if count > CONFIGURATIONS_MAX {
            return Err(NotificationError::TooMany);
        }
        if let Some(id) = id.as_deref().filter(|id| !id.is_empty()) {
            if id.chars().count() > ID_CHARS_MAX {
                return Err(NotificationError::IdTooLong);
            }
            if !ids.insert(id) {
                return Err(NotificationError::IdTwice);
            }
        }
        check_events(events)?;
        filter.as_ref().map_or(Ok(()), check_filter)?;
    }
    if count > 0 || asked.event_bridge_configuration.is_some() {
        return Err(NotificationError::NoDestination);
    }
    Ok(())
}

fn check_events(events: &[dto::Event]) -> Result<(), NotificationError> {
    if events.is_empty() {
        return Err(NotificationError::NoEvents);
    }
    let known = |event: &dto::Event| {
        EVENTS.iter().any(|(family, members)| {
            event.as_ref().strip_prefix(family).is_some_and(|member| members.contains(&member))
        })
    };
    if events.iter().all(known) { Ok(()) } else { Err(NotificationError::UnknownEvent) }
}

fn check_filter(filter: &dto::NotificationConfigurationFilter) -> Result<(), NotificationError> {
    let rules = filter.key.iter().flat_map(|key| key.filter_rules.iter().flatten());
    let mut seen = Vec::new();
    for rule in rules {
        let (name, value) = rule.name.as_ref().zip(rule.value.as_ref()).ok_or(NotificationError::EmptyFilter)?;
        let names = ["prefix", "suffix"];
        let name = names.into_iter().find(|known| known.eq_ignore_ascii_case(name.as_str()));
        let name = name.ok_or(NotificationError::UnknownFilter)?;
        if seen.contains(&name) {
            return Err(NotificationError::FilterTwice { name });
        }
        seen.push(name);
        if value.len() > FILTER_BYTES_MAX {
            return Err(NotificationError::FilterTooLong);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sqs:us-east-1:1:q";

    fn filter(rules: &[(&str, &str)]) -> dto::NotificationConfigurationFilter {
        let rule = |(name, value): &(&str, &str)| dto::FilterRule {
            name: Some(dto::FilterRuleName::from((*name).to_owned())),
            value: Some((*value).into()),
        };
        let filter_rules = Some(rules.iter().map(rule).collect());
        dto::NotificationConfigurationFilter { key: Some(dto::S3KeyFilter { filter_rules }) }
    }

    fn queue(id: &str, event: &str, rules: &[(&str, &str)]) -> dto::QueueConfiguration {
        dto::QueueConfiguration {
            events: vec![dto::Event::from(event.to_owned())],
            filter: Some(filter(rules)),
            id: Some(id.into()),
            queue_arn: ARN.into(),
        }
    }

    fn verdict(queues: Vec<dto::QueueConfiguration>) -> Result<(), NotificationError> {
        check(&dto::NotificationConfiguration { queue_configurations: Some(queues), ..Default::default() })
    }

    #[test]
    fn what_is_malformed_is_said_before_the_destination_is() {
        use NotificationError as E;
        let put = "s3:ObjectCreated:Put";
        let long = "k".repeat(1025);
        for (queues, expected) in [
            (vec![queue("a", put, &[]), queue("b", "s3:ObjectRemoved:*", &[])], E::NoDestination),
            (vec![queue("", put, &[]), queue("", put, &[("Prefix", "a"), ("suffix", "b")])], E::NoDestination),
            (vec![queue("a", put, &[]), queue("a", put, &[])], E::IdTwice),
            (vec![queue(&long, put, &[])], E::IdTooLong),
            (vec![queue("a", "s3:ObjectCreated", &[])], E::UnknownEvent),
            (vec![queue("a", "s3:ObjectCreated:Delete", &[])], E::UnknownEvent),
            (vec![queue("a", "s3:ObjectRestore:*", &[])], E::UnknownEvent),
            (vec![dto::QueueConfiguration { events: vec![], ..queue("a", put, &[]) }], E::NoEvents),
            (vec![queue("a", put, &[("infix", "a")])], E::UnknownFilter),
            (vec![queue("a", put, &[("prefix", "a"), ("PREFIX", "b")])], E::FilterTwice { name: "prefix" }),
            (vec![queue("a", put, &[("suffix", &long)])], E::FilterTooLong),
            ((0..101).map(|i| queue(&i.to_string(), put, &[])).collect(), E::TooMany),
        ] {
            assert_eq!(verdict(queues), Err(expected));
        }
    }

    #[test]
    fn ids_are_unique_across_kinds_and_only_nothing_passes() {
        let topic = dto::TopicConfiguration {
            events: vec![dto::Event::from("s3:ObjectCreated:*".to_owned())],
            filter: None,
            id: Some("a".into()),
            topic_arn: ARN.into(),
        };
        let both = dto::NotificationConfiguration {
            queue_configurations: Some(vec![queue("a", "s3:ObjectCreated:*", &[])]),
            topic_configurations: Some(vec![topic]),
            ..Default::default()
        };
        assert_eq!(check(&both), Err(NotificationError::IdTwice));
        let bridge = dto::NotificationConfiguration {
            event_bridge_configuration: Some(dto::EventBridgeConfiguration {}),
            ..Default::default()
        };
        assert_eq!(check(&bridge), Err(NotificationError::NoDestination));
        assert_eq!(check(&dto::NotificationConfiguration::default()), Ok(()));
    }
}
