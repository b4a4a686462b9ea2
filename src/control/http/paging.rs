//! Lists in parts: no answer is longer than who asks can take, and none costs memory without a bound.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;

/// Entries of one answer where nobody says how many.
const LIMIT: usize = 100;

/// Entries of one answer at most.
const LIMIT_MAX: usize = 1_000;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    /// How many entries, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next` of the part before; absent begins with the first.
    after: Option<String>,
}

impl Paging {
    /// What a request asks for.
    pub(super) fn of(query: Result<Query<Paging>, QueryRejection>) -> Result<Paging, Problem> {
        let Query(paging) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
        let limit = paging.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::bad_request(format!("limit is 1 to {LIMIT_MAX}")));
        }
        Ok(paging)
    }

    /// The wanted part of a list in the order of its names, and the `next` behind it; None when that was all.
    pub(super) fn part<T>(&self, mut list: Vec<T>, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        list.sort_by(|a, b| name(a).cmp(name(b)));
        if let Some(after) = &self.after {
            list.retain(|one| name(one) > after.as_str());
        }
        let limit = self.limit.unwrap_or(LIMIT);
        let has_more = list.len() > limit;
        list.truncate(limit);
        let next = list.last().map(|last| name(last).to_owned()).filter(|_| has_more);
        (list, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_a_gap_and_end() {
        let names = || ["c", "a", "d", "b", "e"].map(str::to_owned).to_vec();
        let mut paging = Paging { limit: Some(2), after: None };
        let mut seen = Vec::new();
        loop {
            let (part, next) = paging.part(names(), |name| name);
            assert!(part.len() <= 2);
            seen.extend(part);
            match next {
                Some(next) => paging.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }
}
