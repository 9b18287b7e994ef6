//! stub
/// stub
pub fn parse_benchdnn(_text: &str) -> Result<super::Conv, crate::Error> {
    todo!()
}
