use super::*;

fn stream(text: &str, axis: usize, pieces: &[usize]) -> Result<Stream, Error> {
    // A convolution alone may add a residual of the caller's.
    let program = text.parse::<Conv>().map(Program::from).or_else(|_| text.parse());
    let program = program.unwrap_or_else(|e| panic!("{text}: {e}"));
    Stream::new(&program, axis, pieces)
}

fn made(text: &str) -> Stream {
    stream(text, 0, &[16, 1]).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn outputs_are_known_as_soon_as_their_windows_are_there() {
    let known = |text: &str| (0..8).map(|n| made(text).known(n)).collect::<Vec<_>>();
    assert_eq!(known("conv1d in T kernel 3"), [0, 0, 0, 1, 2, 3, 4, 5]);
    assert_eq!(known("conv1d in T kernel 3 padding causal"), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(known("conv1d in T kernel 3 pad 1"), [0, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(known("conv1d in T kernel 2 stride 3"), [0, 0, 1, 1, 1, 2, 2, 2]);
    // Two outputs of padding alone, which are there if there is an input.
    assert_eq!(known("conv1d in T kernel 1 pad 2"), [0, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(known("conv1d-transposed in T kernel 4 stride 2"), [0, 2, 4, 6, 8, 10, 12, 14]);
    // The last three would be cropped if nothing followed.
    let cropped = "conv1d-transposed in T kernel 2 stride 2 pad 0:3";
    assert_eq!(known(cropped), [0, 0, 1, 3, 5, 7, 9, 11]);
    assert_eq!(made(cropped).total(5), 7);
}

#[test]
fn a_tensor_stays_until_its_last_reader_was_there() {
    let text = "conv1d in T kernel 3 pad 1; conv1d kernel 5 pad 2; conv1d kernel 3 pad 2:0 + residual from 0";
    // The third step is three positions behind the input.
    assert_eq!(made(text).held, [3, 4, 2]);
    let rings: Vec<_> = made(text).rings.iter().map(|ring| (ring.positions, ring.twin)).collect();
    assert_eq!((rings, made(text).first()), (vec![(144, 32), (144, 32), (144, 32), (16, 0)], 4));
}

/// What the next step reads at once lies at the start of its memory, once.
#[test]
fn nothing_stays_of_what_is_read_at_once() {
    let passes = |text: &str| made(text).rings.iter().map(|ring| ring.passes).collect::<Vec<_>>();
    assert_eq!(
        passes("conv1d in T kernel 3 padding causal; conv1d kernel 1; conv1d kernel 1 pad 0:1"),
        [false, true, false, true]
    );
    // The residual is read when the steps between are done, not before.
    let text = "conv1d in T kernel 1; conv1d kernel 3 pad 1; conv1d kernel 1 + residual from 1";
    assert_eq!(passes(text), [true, false, true, true]);
}

#[test]
fn mirrored_padding_waits_for_what_it_mirrors() {
    let known = |mode: &str| {
        let stream = made(&format!("conv1d in T kernel 3 pad 2:0 mode {mode}"));
        ((0..6).map(|n| stream.known(n)).collect::<Vec<_>>(), stream.held[0])
    };
    assert_eq!(known("replicate"), (vec![0, 1, 2, 3, 4, 5], 3));
    assert_eq!(known("symmetric"), (vec![0, 0, 2, 3, 4, 5], 4));
    assert_eq!(known("reflect"), (vec![0, 0, 0, 3, 4, 5], 5));
}

#[test]
fn pieces_have_no_padding_along_the_axis() {
    let convs = |text: &str| {
        let found = made(text);
        let convs = found.steps[0].convs.iter().map(|(n, conv)| format!("{n}: {conv}"));
        convs.collect::<Vec<_>>()
    };
    assert_eq!(
        convs("conv2d in Hx9 kernel 3 pad 1"),
        [
            "16: conv2d f32 n1 g1 ic1 oc1 in 18x9 kernel 3x3 pad 0:0,1:1",
            "1: conv2d f32 n1 g1 ic1 oc1 in 3x9 kernel 3x3 pad 0:0,1:1"
        ]
    );
    assert_eq!(
        convs("conv1d-transposed in T kernel 4 stride 2"),
        [
            "32: conv1d-transposed f32 n1 g1 ic1 oc1 in 17 kernel 4 stride 2 pad 2:2",
            "2: conv1d-transposed f32 n1 g1 ic1 oc1 in 2 kernel 4 stride 2 pad 2:2"
        ]
    );
}

#[test]
fn what_depends_on_the_end_is_refused() {
    let refused = |text: &str| match stream(text, 0, &[64]) {
        Ok(_) => panic!("{text} is streamed"),
        Err(error) => error.to_string(),
    };
    for (text, part) in [
        ("conv1d in 9 kernel 3", "the width that is streamed is 9: give it a name"),
        ("conv2d in HxW kernel 3", "the size W is free: only the height"),
        ("conv1d nN in T kernel 3", "the size N of the batch is free"),
        (
            "conv1d in T kernel 3 pad 1 mode circular",
            "circular padding, whose first output reads the last input, of step 1",
        ),
        (
            "avgpool1d in T kernel 3 pad 1",
            "an average whose divisor is another one at the ends (count_include_pad",
        ),
        ("conv1d in T kernel 1 + residual", "a residual of the caller's"),
        ("conv1d in T kernel 1; conv1d kernel 3 pad 1 mode circular", "of step 2"),
    ] {
        let error = refused(text);
        assert!(error.contains(part), "{text}: {error}");
    }
    let none = stream("conv1d in T kernel 3", 1, &[64]).expect_err("there is one axis").to_string();
    assert_eq!(none, "there is no axis 1: the program has 1 spatial axes");
    assert!(stream("conv1d in T kernel 3", 0, &[0]).is_err());
}
