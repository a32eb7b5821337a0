//! What a document has its readers paste: the curl tour of the README, the blocks of code of a guide.

/// A command of the tour and the line of the file that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The line, counted from 1.
    pub line: usize,
    /// The command as bash reads it, continued lines included.
    pub text: String,
}

/// A block of code of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line after its fence, counted from 1.
    pub line: usize,
    /// What stands behind the fence: the language and, where one is given, the block's name.
    pub info: String,
    /// Its lines.
    pub text: String,
}

/// Every fenced block of a document, in order.
#[must_use]
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in markdown.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            match open.take() {
                Some(block) => blocks.push(block),
                None => open = Some(Block { line: index + 2, info: info.trim().to_owned(), text: String::new() }),
            }
        } else if let Some(block) = &mut open {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    blocks
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
    fn blocks_are_found_with_their_names_and_lines() {
        let found = blocks("text\n```python verify\na\n\nb\n```\n\n```\nc\n```\n");
        let block = |line, info: &str, text: &str| Block { line, info: info.to_owned(), text: text.to_owned() };
        assert_eq!(found, [block(3, "python verify", "a\n\nb\n"), block(9, "", "c\n")]);
    }

    #[test]
    fn a_backslash_within_single_quotes_continues_nothing() {
        assert!(!is_open(r"a '\'"));
        assert!(is_open("a \"b'"));
        assert!(!is_open(r#"a "\"" "#));
    }
}
