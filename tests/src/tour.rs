//! The curl tour of the README: the commands that a reader pastes.

/// A command of the tour and the line of the file that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The line, counted from 1.
    pub line: usize,
    /// The command as bash reads it, continued lines included.
    pub text: String,
}

/// Every command in the `sh` blocks of the section headed `## Tour`, in order.
///
/// A command ends with its line, unless the line ends with a backslash or within a quotation.
#[must_use]
pub fn commands(markdown: &str) -> Vec<Command> {
    let (mut in_tour, mut in_block, mut in_shell) = (false, false, false);
    let mut commands = Vec::new();
    let mut open: Option<Command> = None;
    for (index, line) in markdown.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_block = !in_block;
            in_shell = in_block && in_tour && language.trim() == "sh";
        } else if !in_block && line.starts_with("## ") {
            in_tour = line.trim_end() == "## Tour";
        } else if in_shell {
            if open.is_none() && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
                continue;
            }
            let mut command = open.take().unwrap_or(Command { line: index + 1, text: String::new() });
            command.text.push_str(line);
            command.text.push('\n');
            if is_open(&command.text) {
                open = Some(command);
            } else {
                commands.push(command);
            }
        }
    }
    commands.extend(open);
    commands
}

/// Whether bash would read on after this text.
fn is_open(text: &str) -> bool {
    let mut quote = None;
    let mut escaped = false;
    for character in text.trim_end_matches('\n').chars() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    escaped || quote.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shell_blocks_of_the_tour_are_commands() {
        let found = commands(
            "# X\n```sh\nno\n```\n## Tour\ntext\n```json\n{}\n```\n```sh\n# a comment\none\n\ntwo \\\n  three\n```\n\
             ### More\n```sh\nfour '{\n}'\n```\n## Next\n```sh\nno\n```\n",
        );
        let texts: Vec<&str> = found.iter().map(|command| command.text.as_str()).collect();
        assert_eq!(texts, ["one\n", "two \\\n  three\n", "four '{\n}'\n"]);
        assert_eq!(found[0].line, 12);
    }

    #[test]
    fn a_backslash_within_single_quotes_continues_nothing() {
        assert!(!is_open(r"a '\'"));
        assert!(is_open("a \"b'"));
        assert!(!is_open(r#"a "\"" "#));
    }
}
