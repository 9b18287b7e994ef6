use super::*;

/// Residue by residue, tap by tap.
fn looked_at(of: &Residues<'_>, residue: i64) -> Run {
    let Divided { stride, dilation, constant, .. } = *of.axis;
    let step = of.axis.step();
    let position = |tap: i64| residue + dilation * tap + constant;
    let first = (0..step.min(of.taps)).find(|&tap| position(tap) % stride == 0);
    let outputs = of.extent.map(|extent| (extent - residue + stride - 1).div_euclid(stride));
    let none = Run { residue, count: 1, tap: (0, 0), start: (0, 0), taps: 0, outputs };
    first.map_or(none, |tap| Run {
        tap: (tap, 0),
        start: (position(tap) / stride, 0),
        taps: (of.taps - tap + step - 1) / step,
        ..none
    })
}

/// Neighbours that move evenly, joined one by one.
fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        let last =
            joined.last_mut().filter(|last| (last.taps, last.outputs) == (run.taps, run.outputs));
        match last {
            Some(last) if last.count == 1 => {
                last.tap.1 = run.tap.0 - last.tap.0;
                last.start.1 = run.start.0 - last.start.0;
                last.count = 2;
            }
            Some(last)
                if last.tap.0 + last.tap.1 * last.count == run.tap.0
                    && last.start.0 + last.start.1 * last.count == run.start.0 =>
            {
                last.count += 1;
            }
            _ => joined.push(run),
        }
    }
    joined
}

#[test]
fn runs_are_what_looking_at_every_residue_and_tap_finds() {
    let (out, tap) = (Some(AxisId(0)), Some(AxisId(1)));
    let mut seen = 0;
    for stride in [2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 25] {
        for dilation in [0, 1, 2, 3, 4, 6, 7, 8, 12, 24, 25, 50] {
            for (taps, constant) in (1..=14).flat_map(|taps| (-9..=3).map(move |c| (taps, c))) {
                let axis = Divided { stride, dilation, constant, out, tap };
                for extent in [None, Some(1), Some(5), Some(stride), Some(3 * stride + 2)] {
                    let of = Residues { axis: &axis, taps, extent };
                    let one_by_one: Vec<Run> = (0..stride.min(extent.unwrap_or(stride)))
                        .map(|r| looked_at(&of, r))
                        .collect();
                    let wanted = if stride > SEPARATE { joined(one_by_one) } else { one_by_one };
                    let text = format!("{stride} {dilation} {taps} {constant} {extent:?}");
                    assert_eq!(runs_of(&of), Some(wanted), "{text}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 50_000, "{seen}");
}

#[test]
fn a_huge_stride_has_few_runs_or_is_refused() {
    let axis = |stride, dilation| Divided {
        stride,
        dilation,
        constant: -5,
        out: Some(AxisId(0)),
        tap: Some(AxisId(1)),
    };
    let count = |axis: &Divided, taps| {
        runs_of(&Residues { axis, taps, extent: Some(1 << 44) }).map(|runs| runs.len())
    };
    let huge = (1 << 40) + 1;
    assert!(count(&axis(huge, 1), 3).is_some_and(|runs| runs < 9));
    assert!(count(&axis(huge, 1), 1 << 43).is_some_and(|runs| runs < 9));
    assert!(count(&axis(huge, huge), 7).is_some_and(|runs| runs < 9));
    assert_eq!(count(&axis(huge, 2), 1 << 42), None);
    assert!(count(&axis(huge, huge - 1), 1 << 19).is_some_and(|runs| runs < 9));
}

#[test]
fn residues_beyond_the_last_output_are_none() {
    let (out, tap) = (Some(AxisId(0)), Some(AxisId(1)));
    let axis = &Divided { stride: 1 << 32, dilation: 1, constant: 0, out, tap };
    let runs = runs_of(&Residues { axis, taps: 1, extent: Some(2) }).expect("a few");
    assert_eq!(runs.iter().map(|run| run.count).collect::<Vec<_>>(), [1, 1]);
}
