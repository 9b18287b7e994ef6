//! Expressions of a leaf: `[f32; 4]` values and calls of lane functions in a leaf with lanes, plain operators in a scalar one.

use conv_ir::DType;
use conv_ir::nest::{Access, AxisId, Binary, Expr, Lanes, Leaf, RegId, Unary};
use proc_macro2::TokenStream;
use quote::quote;

use super::lanes::LaneFn;
use super::scope::{Address, Scope};
use super::{Emission, Unsupported, tokens};

/// A register's declaration: its name, and the tile axes that index it there (those it shares with the surrounding loops are gone).
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub name: String,
    pub axes: Vec<AxisId>,
}

/// What the text of one leaf needs to know.
pub(super) struct LeafText<'s, 'a> {
    pub leaf: &'a Leaf,
    pub scope: &'s mut Scope<'a>,
    pub emission: &'s mut Emission,
    /// By register.
    pub registers: Vec<Declared>,
    /// The leaf is a function of its own: buffers are slices.
    pub outlined: bool,
    /// Nothing else in the statement tells rustc how wide a load is.
    pub spell_width: bool,
}

/// An expression, and whether it can be an operand without parentheses.
struct Text {
    tokens: TokenStream,
    atomic: bool,
}

fn atom(tokens: TokenStream) -> Text {
    Text { tokens, atomic: true }
}

impl Text {
    fn operand(self) -> TokenStream {
        let tokens = self.tokens;
        if self.atomic { tokens } else { quote!((#tokens)) }
    }
}

impl LeafText<'_, '_> {
    /// The lanes, where values are vectors.
    pub fn lanes(&self) -> Option<Lanes> {
        self.leaf.lanes.filter(|lanes| lanes.width > 1 || lanes.cut.is_some())
    }

    pub fn width(&self) -> Option<TokenStream> {
        self.lanes().map(|lanes| tokens(&lanes.width.to_string()))
    }

    fn call(&mut self, function: LaneFn, arguments: &[TokenStream]) -> Text {
        self.emission.called.insert(function);
        let name = function.ident();
        atom(quote!(#name(#(#arguments),*)))
    }

    fn lane_axis(&self) -> Option<AxisId> {
        self.leaf.lanes.map(|lanes| lanes.axis)
    }

    pub fn address(&mut self, access: &Access) -> Address {
        let address = self.scope.address(Some(self.leaf), access, self.lane_axis());
        self.emission.called.extend(self.scope.called.drain(..));
        address
    }

    /// A buffer as an argument of a lane function.
    pub fn buffer(&self, buffer: usize, mutable: bool) -> TokenStream {
        let name = tokens(&self.scope.buffers[buffer]);
        match (self.outlined || !self.emission.is_local(buffer), mutable) {
            (true, _) => name,
            (false, true) => quote!(&mut #name),
            (false, false) => quote!(&#name),
        }
    }

    /// How many lanes live, as text; `None` where all do.
    pub fn live(&self) -> Option<String> {
        let lanes = self.lanes()?;
        let cut = lanes.cut?;
        let vectors = lanes
            .vectors
            .and_then(|axis| self.leaf.tile.iter().find(|tile| tile.axis == axis));
        match vectors {
            Some(tile) if cut >= tile.extent * lanes.width => None,
            None if cut >= lanes.width => None,
            None => Some(cut.to_string()),
            Some(tile) => {
                let vector = self
                    .scope
                    .factor(conv_ir::nest::Var::Axis(tile.axis))
                    .map_or("0", |f| f.text.as_str());
                Some(format!("{cut}usize.saturating_sub({} * {vector})", lanes.width))
            }
        }
    }

    /// A register at the current point of the tile.
    pub fn register(&self, reg: RegId) -> TokenStream {
        let Declared { name, axes } = &self.registers[reg.index()];
        let name = tokens(name);
        let points = axes.iter().map(|&axis| {
            let point = self
                .scope
                .factor(conv_ir::nest::Var::Axis(axis))
                .map_or("0", |f| f.text.as_str());
            tokens(point)
        });
        quote!(#name #([#points])*)
    }

    pub fn expr(&mut self, e: &Expr) -> Result<TokenStream, Unsupported> {
        self.text(e).map(|text| text.tokens)
    }

    fn text(&mut self, e: &Expr) -> Result<Text, Unsupported> {
        Ok(match e {
            Expr::Const(value) => atom(self.splat(constant(*value, self.emission.dtype))),
            Expr::Reg(reg) => atom(self.register(*reg)),
            Expr::Load(access) => self.load(access),
            Expr::Select { when, then, otherwise } => match self.scope.conds(when) {
                None => self.text(then)?,
                Some(when) => {
                    let (when, then, otherwise) = (tokens(&when), self.expr(then)?, self.expr(otherwise)?);
                    Text {
                        tokens: quote!(if #when { #then } else { #otherwise }),
                        atomic: false,
                    }
                }
            },
            Expr::Unary(op, a) => self.unary(*op, a)?,
            Expr::Binary(op, a, b) => self.binary(*op, a, b)?,
            Expr::Fma(a, b, c) => {
                let operands = [self.expr(a)?, self.expr(b)?, self.expr(c)?];
                match self.lanes() {
                    Some(_) => self.call(LaneFn::Fma, &operands),
                    None => self.method("mul_add", &operands),
                }
            }
            Expr::Choose { a, b, then, otherwise } => self.choose([a, b, then, otherwise])?,
            Expr::Activation(..) => {
                return Err(Unsupported(
                    "an activation that pass `epilogue` has not spelled out".to_owned(),
                ));
            }
        })
    }

    /// A scalar in every lane.
    pub fn splat(&self, scalar: TokenStream) -> TokenStream {
        match self.width() {
            Some(width) => quote!([#scalar; #width]),
            None => scalar,
        }
    }

    /// `f32::name(operands)`, for scalar leaves.
    fn method(&self, name: &str, operands: &[TokenStream]) -> Text {
        let (t, name) = (super::lanes::type_name(self.emission.dtype), tokens(name));
        atom(quote!(#t::#name(#(#operands),*)))
    }

    fn load(&mut self, access: &Access) -> Text {
        let Address { buffer, at, step } = self.address(access);
        let at = tokens(&at.usize_text());
        let (Some(width), Some(step)) = (self.width(), step) else {
            let name = tokens(&self.scope.buffers[buffer]);
            return atom(self.splat(quote!(#name[#at])));
        };
        let from = self.buffer(buffer, false);
        let (function, rest) = match (self.live(), step.as_constant()) {
            (Some(live), _) => (LaneFn::LoadLive, format!(", {}, {live}", step.usize_text())),
            (None, Some(1)) => (LaneFn::Load, String::new()),
            (None, _) => (LaneFn::Gather, format!(", {}", step.usize_text())),
        };
        self.emission.called.insert(function);
        let (name, rest) = (function.ident(), tokens(&rest));
        let width = self.spell_width.then(|| quote!(::<#width>));
        atom(quote!(#name #width (#from, #at #rest)))
    }

    fn unary(&mut self, op: Unary, a: &Expr) -> Result<Text, Unsupported> {
        let value = self.text(a)?;
        let (vector, scalar) = match op {
            Unary::Neg => (LaneFn::Neg, "neg"),
            Unary::Abs => (LaneFn::Abs, "abs"),
            Unary::Round => (LaneFn::Round, "round_ties_even"),
            Unary::Exp2Int => (LaneFn::Exp2, "exp2_scalar"),
        };
        Ok(match (self.lanes(), op) {
            (Some(_), _) => self.call(vector, &[value.tokens]),
            (None, Unary::Exp2Int) => self.call(LaneFn::Exp2Scalar, &[value.tokens]),
            (None, Unary::Neg) => {
                let value = value.operand();
                Text {
                    tokens: quote!(-#value),
                    atomic: false,
                }
            }
            (None, Unary::Abs | Unary::Round) => self.method(scalar, &[value.tokens]),
        })
    }

    fn binary(&mut self, op: Binary, a: &Expr, b: &Expr) -> Result<Text, Unsupported> {
        let (a, b) = (self.text(a)?, self.text(b)?);
        let (vector, scalar) = match op {
            Binary::Add => (LaneFn::Add, quote!(+)),
            Binary::Sub => (LaneFn::Sub, quote!(-)),
            Binary::Mul => (LaneFn::Mul, quote!(*)),
            Binary::Div => (LaneFn::Div, quote!(/)),
            Binary::Min => (LaneFn::Min, quote!()),
            Binary::Max => (LaneFn::Max, quote!()),
            Binary::CopySign => (LaneFn::CopySign, quote!()),
        };
        Ok(match (self.lanes(), op) {
            (Some(_), _) => self.call(vector, &[a.tokens, b.tokens]),
            (None, Binary::Min) => self.call(LaneFn::MinScalar, &[a.tokens, b.tokens]),
            (None, Binary::Max) => self.call(LaneFn::MaxScalar, &[a.tokens, b.tokens]),
            (None, Binary::CopySign) => self.method("copysign", &[a.tokens, b.tokens]),
            (None, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div) => {
                let (a, b) = (a.operand(), b.operand());
                Text {
                    tokens: quote!(#a #scalar #b),
                    atomic: false,
                }
            }
        })
    }

    fn choose(&mut self, [a, b, then, otherwise]: [&Expr; 4]) -> Result<Text, Unsupported> {
        let (a, b, then, otherwise) = (self.text(a)?, self.text(b)?, self.expr(then)?, self.expr(otherwise)?);
        if self.lanes().is_some() {
            return Ok(self.call(LaneFn::Choose, &[a.tokens, b.tokens, then, otherwise]));
        }
        let (a, b) = (a.operand(), b.operand());
        Ok(Text {
            tokens: quote!(if #a < #b { #then } else { #otherwise }),
            atomic: false,
        })
    }
}

/// The nearest value of the type, as a literal that reads back exactly.
pub(super) fn constant(value: f64, dtype: DType) -> TokenStream {
    let (text, suffix) = match dtype {
        DType::F32 => (format!("{:?}", value as f32), "f32"),
        DType::F64 => (format!("{value:?}"), "f64"),
    };
    let finite = match dtype {
        DType::F32 => (value as f32).is_finite(),
        DType::F64 => value.is_finite(),
    };
    match finite {
        true => tokens(&format!("{text}{suffix}")),
        false if value.is_nan() => tokens(&format!("{suffix}::NAN")),
        false if value > 0.0 => tokens(&format!("{suffix}::INFINITY")),
        false => tokens(&format!("{suffix}::NEG_INFINITY")),
    }
}
