//! Who the agent is: what the caller says, else what the environment says, else the mark
//! that a well-known harness leaves in the environment of the commands it runs.

use super::session::Agent;

/// The longest value that is kept, in characters.
const MAX: usize = 200;

/// Marks that harnesses set for their children: the variable, the value that it must have
/// (none is any), the harness, its provider.
const MARKS: [(&str, Option<&str>, &str, Option<&str>); 9] = [
    ("CLAUDECODE", Some("1"), "claude-code", Some("anthropic")),
    ("CODEX_THREAD_ID", None, "codex", Some("openai")),
    ("CODEX_SANDBOX", None, "codex", Some("openai")),
    ("GEMINI_CLI", Some("1"), "gemini-cli", Some("google")),
    // CURSOR_TRACE_ID is set in the editor's terminals too, where a person may type.
    ("CURSOR_AGENT", None, "cursor", None),
    ("OPENCODE", Some("1"), "opencode", None),
    ("COPILOT_MODEL", None, "copilot", Some("github")),
    ("COPILOT_AGENT_SESSION_ID", None, "copilot", Some("github")),
    ("AIDER_MODEL", None, "aider", None),
];

/// What the caller says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--provider`.
    pub provider: Option<String>,
    /// `--model`.
    pub model: Option<String>,
    /// `--harness`.
    pub harness: Option<String>,
    /// `--thinking-level`.
    pub thinking_level: Option<String>,
}

/// Works out who the agent is; each known field has its source recorded.
#[must_use]
pub fn identify(flags: &Flags, environment: impl Fn(&str) -> Option<String>) -> Agent {
    let mark = MARKS.iter().find(|(name, value, ..)| {
        environment(name).is_some_and(|found| value.map_or(!found.is_empty(), |value| found == value))
    });
    let detected_model = mark.filter(|mark| mark.2 == "aider").and_then(|_| environment("AIDER_MODEL"));
    let mut agent = Agent::default();
    let mut settle = |field: &str, flag: &Option<String>, variable: &str, detected: Option<String>| {
        let candidates =
            [("flag", flag.clone()), ("environment", environment(variable)), ("detected", detected)];
        let (source, value) =
            candidates.into_iter().find_map(|(source, value)| Some((source, clean(&value?)?)))?;
        agent.source.insert(field.to_owned(), source.to_owned());
        Some(value)
    };
    let provider = mark.and_then(|mark| mark.3).map(str::to_owned);
    let provider = settle("provider", &flags.provider, "HEDDLE_AGENT_PROVIDER", provider);
    let model = settle("model", &flags.model, "HEDDLE_AGENT_MODEL", detected_model);
    let harness = mark.map(|mark| mark.2.to_owned());
    let harness = settle("harness", &flags.harness, "HEDDLE_AGENT_HARNESS", harness);
    let level = settle("thinking_level", &flags.thinking_level, "HEDDLE_AGENT_THINKING_LEVEL", None);
    Agent { provider, model, harness, thinking_level: level, ..agent }
}

/// A value as it is kept: one short line; `None` if nothing is left.
fn clean(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|character| !character.is_control()).take(MAX).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_environment_and_that_a_mark() {
        let environment = |name: &str| match name {
            "CLAUDECODE" => Some("1".to_owned()),
            "HEDDLE_AGENT_MODEL" => Some(" m\n".to_owned()),
            _ => None,
        };
        let flags = Flags { harness: Some("mine".to_owned()), ..Flags::default() };
        let agent = identify(&flags, environment);
        assert_eq!(agent.harness.as_deref(), Some("mine"));
        assert_eq!(agent.model.as_deref(), Some("m"));
        assert_eq!(agent.provider.as_deref(), Some("anthropic"));
        assert_eq!(agent.source["provider"], "detected");
        assert_eq!(identify(&Flags::default(), |_| None), Agent::default());
    }
}
