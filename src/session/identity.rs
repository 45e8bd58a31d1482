//! Who the agent is: provider, model, harness and thinking level, each with its source.
//!
//! What the caller states comes first (a flag, then `HEDDLE_AGENT_*`); what is missing is
//! looked for among the marks that agent harnesses leave in the environment of the commands
//! they start. All of it is self-reported. It is for people, listings and trailers, never a
//! reason to allow or to refuse anything: that is what the token is for.
//!
//! A wrong name would be worse than none. Settings that a user may have exported in any
//! shell (`ANTHROPIC_MODEL`, `COPILOT_GITHUB_TOKEN`, `AIDER_*`) are therefore no marks, and
//! where the marks of two harnesses meet (one was started from inside the other, and both
//! leave theirs) nothing is detected. Who starts such an agent sets `HEDDLE_AGENT_HARNESS`.

/// The longest value kept, in characters. Values end up in trailers and tables.
const MAX_CHARS: usize = 200;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// A `HEDDLE_AGENT_*` variable.
    Environment,
    /// A mark that the harness left in the environment.
    Detected,
}

impl Source {
    /// The word for it in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Detected => "detected",
        }
    }
}

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The value: not empty, one line, at most 200 characters.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// Who the agent is, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whose model it is: `anthropic`, `google`.
    pub provider: Option<Fact>,
    /// The model.
    pub model: Option<Fact>,
    /// The program that runs the agent: `claude-code`, `codex`.
    pub harness: Option<Fact>,
    /// How hard the model was told to think, in the harness's own words.
    pub thinking_level: Option<Fact>,
}

/// What the caller stated by flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// `--provider`
    pub provider: Option<&'a str>,
    /// `--model`
    pub model: Option<&'a str>,
    /// `--harness`
    pub harness: Option<&'a str>,
    /// `--thinking-level`
    pub thinking_level: Option<&'a str>,
}

/// Finds out who the agent is; `env` looks up one variable of the environment. A value that
/// is empty once it is cleaned counts as not given.
#[must_use]
pub fn identify(flags: &Flags<'_>, env: impl Fn(&str) -> Option<String>) -> Identity {
    let variable = |name: &str| env(name).and_then(|value| clean(&value));
    let stated = |flag: Option<&str>, name: &str| {
        let fact = |source| move |value| Fact { value, source };
        let by_flag = flag.and_then(clean).map(fact(Source::Flag));
        by_flag.or_else(|| variable(name).map(fact(Source::Environment)))
    };
    let harness = stated(flags.harness, "HEDDLE_AGENT_HARNESS");
    let detected = detect(&variable);
    // A stated harness that is not the one found runs inside it (or the marks are stale), so
    // nothing else that was found is about this agent.
    let about_us = harness.as_ref().is_none_or(|fact| fact.value == detected.harness);
    let found = |value: Option<String>| {
        value
            .filter(|_| about_us)
            .and_then(|value| clean(&value))
            .map(|value| Fact { value, source: Source::Detected })
    };
    Identity {
        provider: stated(flags.provider, "HEDDLE_AGENT_PROVIDER").or_else(|| found(detected.provider)),
        model: stated(flags.model, "HEDDLE_AGENT_MODEL"),
        thinking_level: stated(flags.thinking_level, "HEDDLE_AGENT_THINKING_LEVEL")
            .or_else(|| found(detected.thinking_level)),
        harness: harness.or_else(|| found(Some(detected.harness))),
    }
}

/// What the marks tell; an empty harness is an unknown one.
#[derive(Default)]
struct Detected {
    harness: String,
    provider: Option<String>,
    thinking_level: Option<String>,
}

/// A variable that a harness sets for the commands it starts.
struct Mark {
    variable: &'static str,
    /// The value it must have; without one, any but `0` and `false`.
    value: Option<&'static str>,
    harness: &'static str,
}

const fn mark(variable: &'static str, harness: &'static str) -> Mark {
    Mark { variable, value: None, harness }
}

const fn valued(variable: &'static str, value: &'static str, harness: &'static str) -> Mark {
    Mark { variable, value: Some(value), harness }
}

/// The marks, each with the place that documents it.
const MARKS: &[Mark] = &[
    // code.claude.com/docs/en/env-vars; anthropics/claude-code#531. The entry point is set
    // by the SDK and the editor extensions too.
    mark("CLAUDECODE", "claude-code"),
    mark("CLAUDE_CODE_ENTRYPOINT", "claude-code"),
    // developers.openai.com/codex/environment-variables. The sandbox variables are there only
    // where commands run in one, the thread only in newer versions; CODEX_CI is named by
    // vercel/vercel packages/detect-agent.
    mark("CODEX_THREAD_ID", "codex"),
    mark("CODEX_SANDBOX", "codex"),
    mark("CODEX_SANDBOX_NETWORK_DISABLED", "codex"),
    mark("CODEX_CI", "codex"),
    // google-gemini/gemini-cli docs/tools/shell.md
    mark("GEMINI_CLI", "gemini-cli"),
    // cursor.com/docs/agent/terminal
    mark("CURSOR_AGENT", "cursor"),
    // anomalyco/opencode#1775
    mark("OPENCODE", "opencode"),
    // The session id is what Azure/azure-cli reads. COPILOT_CLI is reported by users, and
    // disputed (rjmurillo/ai-agents#5369); nobody else sets it.
    mark("COPILOT_AGENT_SESSION_ID", "copilot"),
    valued("COPILOT_CLI", "1", "copilot"),
    // Aider-AI/aider aider/llm.py: set for OpenRouter's statistics, and inherited by what
    // aider starts. It leaves no mark that is meant as one.
    valued("OR_APP_NAME", "Aider", "aider"),
    // aaif-goose/goose documentation/docs/guides/environment-variables.md
    mark("GOOSE_TERMINAL", "goose"),
    valued("AGENT", "goose", "goose"),
    // ampcode.com/manual/appendix. Other values of AGENT are not believed: the name is too
    // common, and `1` names nobody (agentsmd/agents.md#136).
    valued("AGENT", "amp", "amp"),
    // vercel/vercel packages/detect-agent
    mark("ANTIGRAVITY_AGENT", "antigravity"),
    mark("AUGMENT_AGENT", "augment"),
];

/// Asked only where no mark above was found: a name that the harness gives itself, by the
/// convention of vercel/vercel packages/detect-agent (`name` or `name@version`).
const SELF_NAMED: &str = "AI_AGENT";

/// Asked last: it marks every terminal inside the Cursor editor, and what runs there is as
/// often a person (vercel/vercel packages/detect-agent counts it all the same).
const EDITOR_TERMINAL: Mark = mark("CURSOR_TRACE_ID", "cursor");

/// Variables by which Claude Code talks to somebody other than Anthropic
/// (code.claude.com/docs/en/env-vars).
const CLAUDE_ELSEWHERE: [&str; 4] =
    ["ANTHROPIC_BASE_URL", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"];

/// Reads the marks.
fn detect(variable: &impl Fn(&str) -> Option<String>) -> Detected {
    let is_set = |mark: &Mark| {
        variable(mark.variable).is_some_and(|value| match mark.value {
            Some(expected) => value == expected,
            None => !matches!(value.as_str(), "0" | "false"),
        })
    };
    let mut marked = MARKS.iter().filter(|mark| is_set(mark)).map(|mark| mark.harness);
    let harness = match marked.next() {
        Some(first) if marked.all(|other| other == first) => first.to_owned(),
        Some(_) => return Detected::default(),
        None => match variable(SELF_NAMED) {
            Some(name) => name.split('@').next().unwrap_or_default().to_owned(),
            None if is_set(&EDITOR_TERMINAL) => EDITOR_TERMINAL.harness.to_owned(),
            None => return Detected::default(),
        },
    };
    let (provider, thinking_level) = match harness.as_str() {
        "claude-code" => {
            let elsewhere = CLAUDE_ELSEWHERE.iter().any(|name| variable(name).is_some());
            // CLAUDE_EFFORT: anthropics/claude-code CHANGELOG.md
            ((!elsewhere).then_some("anthropic"), variable("CLAUDE_EFFORT"))
        }
        "gemini-cli" => (Some("google"), None),
        // The others let the user choose, and leave no mark of the choice.
        _ => (None, None),
    };
    Detected { harness, provider: provider.map(str::to_owned), thinking_level }
}

/// Whether a character turns the direction in which what follows is shown, also beyond the end
/// of the text that has it.
#[must_use]
pub fn turns_text(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The value as it may be stored and printed: on one line, without control characters and
/// without those that reverse the direction of text, trimmed, at most [`MAX_CHARS`] long.
fn clean(value: &str) -> Option<String> {
    let printable = |c: &char| !c.is_control() && !turns_text(*c);
    let kept: String = value.chars().filter(printable).collect();
    let short: String = kept.trim().chars().take(MAX_CHARS).collect();
    let short = short.trim_end();
    (!short.is_empty()).then(|| short.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity that these flags and this environment give.
    fn in_env(flags: Flags<'_>, env: &[(&str, &str)]) -> Identity {
        identify(&flags, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn fact(value: &str, source: Source) -> Option<Fact> {
        Some(Fact { value: value.to_owned(), source })
    }

    #[test]
    fn every_harness_is_known_by_its_marks() {
        for (env, harness) in [
            (&[("CLAUDECODE", "1")][..], Some("claude-code")),
            (&[("CLAUDECODE", "1"), ("CLAUDE_CODE_ENTRYPOINT", "cli")], Some("claude-code")),
            (&[("CLAUDE_CODE_ENTRYPOINT", "sdk-py")], Some("claude-code")),
            (&[("CODEX_THREAD_ID", "019a2829-236a-7700")], Some("codex")),
            (&[("CODEX_SANDBOX", "seatbelt")], Some("codex")),
            (&[("CODEX_CI", "1")], Some("codex")),
            (&[("GEMINI_CLI", "1")], Some("gemini-cli")),
            (&[("CURSOR_AGENT", "1"), ("CURSOR_TRACE_ID", "abc")], Some("cursor")),
            (&[("CURSOR_TRACE_ID", "abc")], Some("cursor")),
            (&[("OPENCODE", "1"), ("AGENT", "1")], Some("opencode")),
            (&[("COPILOT_AGENT_SESSION_ID", "abc")], Some("copilot")),
            (&[("COPILOT_CLI", "1")], Some("copilot")),
            (&[("OR_APP_NAME", "Aider")], Some("aider")),
            (&[("GOOSE_TERMINAL", "1"), ("AGENT", "goose")], Some("goose")),
            (&[("AGENT", "amp")], Some("amp")),
            (&[("AI_AGENT", "my-tool@2.0")], Some("my-tool")),
            // An editor's terminal, and a name that is less exact than the mark.
            (&[("CURSOR_TRACE_ID", "abc"), ("CLAUDECODE", "1")], Some("claude-code")),
            (&[("AI_AGENT", "claude-code_2.1.0_cli"), ("CLAUDECODE", "1")], Some("claude-code")),
            // One inside the other: which is which cannot be told.
            (&[("CLAUDECODE", "1"), ("CODEX_THREAD_ID", "x")], None),
            // No marks: settings, switched off, empty, somebody else's.
            (&[("ANTHROPIC_MODEL", "x"), ("COPILOT_GITHUB_TOKEN", "x"), ("AIDER_MODEL", "x")], None),
            (&[("CLAUDECODE", "0"), ("GEMINI_CLI", "false"), ("CURSOR_AGENT", " ")], None),
            (&[("AGENT", "1"), ("OR_APP_NAME", "Other"), ("AI_AGENT", "@1")], None),
            (&[], None),
        ] {
            let found = in_env(Flags::default(), env).harness;
            assert_eq!(found, harness.and_then(|name| fact(name, Source::Detected)), "{env:?}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_marks() {
        let env = [
            ("CLAUDECODE", "1"),
            ("CLAUDE_EFFORT", "high"),
            ("HEDDLE_AGENT_PROVIDER", "proxy"),
            ("HEDDLE_AGENT_MODEL", "model-e"),
            ("HEDDLE_AGENT_THINKING_LEVEL", "  "),
        ];
        let flags = Flags { model: Some("model-f"), provider: Some(""), ..Flags::default() };
        let found = in_env(flags, &env);
        assert_eq!(found.model, fact("model-f", Source::Flag));
        assert_eq!(found.provider, fact("proxy", Source::Environment));
        assert_eq!(found.harness, fact("claude-code", Source::Detected));
        assert_eq!(found.thinking_level, fact("high", Source::Detected));
        let stated = [
            ("HEDDLE_AGENT_HARNESS", "h"),
            ("HEDDLE_AGENT_MODEL", "m"),
            ("HEDDLE_AGENT_PROVIDER", "p"),
            ("HEDDLE_AGENT_THINKING_LEVEL", "t"),
        ];
        let found = in_env(Flags::default(), &stated);
        assert_eq!(found.harness, fact("h", Source::Environment));
        assert_eq!(found.model, fact("m", Source::Environment));
        assert_eq!(found.provider, fact("p", Source::Environment));
        assert_eq!(found.thinking_level, fact("t", Source::Environment));
    }

    #[test]
    fn the_provider_is_detected_only_where_the_harness_has_one() {
        for (env, provider) in [
            (&[("CLAUDECODE", "1")][..], Some("anthropic")),
            (&[("CLAUDECODE", "1"), ("ANTHROPIC_BASE_URL", "http://localhost:1")], None),
            (&[("CLAUDECODE", "1"), ("CLAUDE_CODE_USE_BEDROCK", "1")], None),
            (&[("GEMINI_CLI", "1")], Some("google")),
            (&[("CODEX_THREAD_ID", "x")], None),
            (&[("CLAUDECODE", "1"), ("HEDDLE_AGENT_HARNESS", "claude-code")], Some("anthropic")),
            // A stated harness inside a marked one: what is known of the outer is not said
            // of the inner.
            (&[("CLAUDECODE", "1"), ("HEDDLE_AGENT_HARNESS", "my-runner")], None),
        ] {
            let found = in_env(Flags::default(), env).provider;
            assert_eq!(found, provider.and_then(|name| fact(name, Source::Detected)), "{env:?}");
        }
    }

    #[test]
    fn values_are_one_short_line() {
        let long = "é".repeat(300);
        for (given, kept) in [
            ("  opus  ", Some("opus")),
            ("a\nHeddle-Session: x", Some("aHeddle-Session: x")),
            ("\u{1b}[31mred\u{7}", Some("[31mred")),
            ("a\u{202e}b\u{2066}", Some("ab")),
            ("\n\t ", None),
            ("", None),
            (long.as_str(), Some(&long[..2 * MAX_CHARS])),
        ] {
            assert_eq!(clean(given).as_deref(), kept, "{given:?}");
        }
    }
}
