//! `conv!` of any tokens: an expansion or errors, soon, and never a panic or a stack that is too
//! short. `CONV_STREAMS=1000000` tries more streams than usual.

mod tokens;

/// The next number of a sequence that has no pattern.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

#[test]
fn any_tokens_expand() {
    let count = std::env::var("CONV_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let mut state = 1;
    for _ in 0..count {
        let length = 4 + random(&mut state) % 120;
        let bytes: Vec<u8> = (0..length).map(|_| random(&mut state) as u8).collect();
        tokens::check(tokens::stream(&bytes));
    }
}

#[test]
fn a_step_that_cannot_be_read_is_passed_over() {
    for value in [
        "{ weight: [f32; 1, 1, 1] }, r#type: { weight: [f32; 1, 1, 3], bias: [f32; 1] }",
        "{ weight: [f32; 1, 1, 1] }, b: { weight: [f32; 1, 1, 3], r#fn: [f32; 1] }",
        "{ # }",
        "{ a: # }",
        "{ # # , }",
        "{ pub }",
        "{ fn fn }",
        "{ , }",
        "{ a: 1 # }",
    ] {
        let item = format!("fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6]; a: {value}");
        tokens::check(item.parse().unwrap());
    }
}
