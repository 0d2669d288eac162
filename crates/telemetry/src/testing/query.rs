//! Whether every metric and label that a PromQL query names is there. Nothing is computed.

use super::Exposition;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text,
    Sign(char),
}

/// Words that are followed by a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Labels that Prometheus adds to what it scrapes.
const OF_TARGET: [&str; 3] = ["pod", "namespace", "instance"];

/// The queries in the `promql` blocks under a heading of a Markdown page. An empty line ends a query; `#` begins a comment.
///
/// # Panics
/// If there are none.
pub fn queries(page: &str, heading: &str) -> Vec<String> {
    let mut lines = page.lines().skip_while(|it| *it != heading).skip(1);
    let mut queries = vec![];
    let level = heading.chars().take_while(|it| *it == '#').count();
    let mut block = false;
    let mut query = String::new();
    for line in lines.by_ref() {
        let depth = line.chars().take_while(|it| *it == '#').count();
        if !block && (1..=level).contains(&depth) {
            break;
        }
        match line.trim() {
            "```promql" => block = true,
            line if block && (line.is_empty() || line == "```") => {
                if !query.is_empty() {
                    queries.push(std::mem::take(&mut query));
                }
                block = line != "```";
            }
            line if block && !line.starts_with('#') => {
                query.push_str(line);
                query.push(' ');
            }
            _ => {}
        }
    }
    assert!(!queries.is_empty(), "there are no queries under {heading:?}");
    queries
}

/// What a query names that is not in the exposition.
pub fn check(query: &str, exposition: &Exposition) -> Result<(), String> {
    let tokens = tokens(query);
    let (mut metrics, mut grouped) = (vec![], vec![]);
    let mut rest = &tokens[..];
    while let [first, after @ ..] = rest {
        rest = after;
        let Token::Word(word) = first else { continue };
        if word.starts_with("fairway_") {
            let labels = exposition.labels(word).ok_or_else(|| format!("no metric {word}"))?;
            for label in list(rest, '{', '}') {
                if !labels.contains(label) && !OF_TARGET.contains(&label) {
                    return Err(format!("{word} has no label {label}"));
                }
            }
            metrics.push((word, labels));
        }
        if LISTS.contains(&word.as_str()) {
            grouped.extend(list(rest, '(', ')'));
        }
    }
    if metrics.is_empty() {
        return Err("it names no metric of Fairway".to_owned());
    }
    for label in grouped {
        for (metric, labels) in &metrics {
            if !labels.contains(label) && !OF_TARGET.contains(&label) {
                return Err(format!("{metric} has no label {label}"));
            }
        }
    }
    Ok(())
}

/// The words between two signs, if the first one is next.
fn list(tokens: &[Token], open: char, close: char) -> Vec<&str> {
    if tokens.first() != Some(&Token::Sign(open)) {
        return vec![];
    }
    let inside = tokens.iter().skip(1).take_while(|it| **it != Token::Sign(close));
    inside.filter_map(|it| if let Token::Word(word) = it { Some(word.as_str()) } else { None }).collect()
}

fn tokens(query: &str) -> Vec<Token> {
    let (mut tokens, mut chars) = (vec![], query.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                while let Some(char) = chars.next() {
                    match char {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                tokens.push(Token::Text);
            }
            char if char.is_alphabetic() || char == '_' => {
                let mut word = String::from(char);
                while let Some(char) = chars.next_if(|it| it.is_alphanumeric() || *it == '_' || *it == ':') {
                    word.push(char);
                }
                tokens.push(Token::Word(word));
            }
            char if char.is_whitespace() => {}
            char => tokens.push(Token::Sign(char)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPED: &str = "# TYPE fairway_requests counter\n\
        fairway_requests_total{route=\"HTTPRoute/a/\\\"b\\\"\",class=\"2xx\"} 7\n\
        fairway_up 1\n# EOF\n";

    #[test]
    fn what_a_query_names_has_to_be_there() {
        let scraped = Exposition::parse(SCRAPED);
        assert_eq!(scraped.sum("fairway_requests_total", &[("route", "HTTPRoute/a/\"b\"")]), 7.0);
        let good = "sum by (route) (rate(fairway_requests_total{class=~\"5..\", pod=\"x}\"}[5m]))";
        check(good, &scraped).unwrap();
        for (query, why) in [
            ("sum(rate(fairway_requests[5m]))", "no metric fairway_requests"),
            ("fairway_requests_total{code=\"500\"}", "fairway_requests_total has no label code"),
            ("sum by (class) (fairway_up)", "fairway_up has no label class"),
            ("sum(up)", "it names no metric of Fairway"),
        ] {
            assert_eq!(check(query, &scraped).unwrap_err(), why);
        }
    }

    #[test]
    fn queries_are_read_from_their_section_only() {
        let page = "# Page\n## One\n```promql\n# rate\na\n  / b\n\nc\n```\n### Below\n```promql\nd\n```\n## Two\n```promql\ne\n```\n";
        assert_eq!(queries(page, "## One"), ["a / b ", "c ", "d "]);
        assert_eq!(queries(page, "## Two"), ["e "]);
    }
}
