use crate::{Error, Padding, chain, conv1d};

/// Code runs on a state's memory unchecked: what another stream made may be shorter.
#[test]
fn the_state_of_another_stream_is_refused() {
    let long = chain(1, ["T"]).conv(1, 1).conv(1, 2).dilation(2650).padding(Padding::Causal);
    let wide = chain(1, ["T"]).conv(16, 1).conv(1, 2).padding(Padding::Causal);
    let ones = [1.0f32; 64];
    let long = long.stream(0, &[ones[..1].into(), ones[..2].into()]).unwrap();
    let wide = wide.stream(0, &[ones[..16].into(), ones[..32].into()]).unwrap();
    let mut state = long.state().unwrap();
    let mut output = vec![0.0; 4200];
    long.push(&mut state, &vec![1.0; 4200], &mut output).unwrap();
    let refused = [
        wide.push(&mut state, &ones, &mut output[..64]),
        wide.flush(&mut state, &mut output[..0]),
        wide.reset(&mut state),
    ];
    for result in refused {
        assert!(matches!(&result, Err(Error::Argument(why)) if why.contains("another stream")));
    }
    long.push(&mut state, &ones, &mut output[..64]).unwrap();
    assert_eq!(output[63], 2.0, "its own stream goes on");
}

/// One that is described alike may have other tiles of memory.
#[test]
fn a_twin_is_another_stream() {
    let twin = || conv1d(1, 1, 3).input(["T"]).stream(0, &[[1.0f32; 3][..].into()]).unwrap();
    let mut state = twin().state().unwrap();
    assert!(twin().push(&mut state, &[1.0], &mut []).is_err());
}
