//! The plots of the report, as SVG.

use std::path::Path;

use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::combinators::IntoLogRange,
    drawing::IntoDrawingArea,
    element::{PathElement, Rectangle, Text},
    prelude::SVGBackend,
    series::LineSeries,
    style::{BLACK, Color, Palette, Palette99, WHITE},
};

const SIZE: (u32, u32) = (760, 320);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws one bar for each name, in the given order, with its figure beside it.
pub(crate) fn bars(file: &Path, title: &str, unit: &str, bars: &[(&str, f64)]) -> Drawn {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let most = bars.iter().map(|(_, figure)| *figure).fold(0.0, f64::max);
    let rows = f64::from(u32::try_from(bars.len())?);
    let mut builder = ChartBuilder::on(&area);
    let builder = builder.caption(title, ("sans-serif", 18)).margin(12).x_label_area_size(40);
    let mut chart = builder.build_cartesian_2d(0.0..most * 1.5, 0.0..rows)?;
    chart.configure_mesh().disable_mesh().disable_y_axis().x_desc(unit).draw()?;
    for (place, (name, figure)) in bars.iter().enumerate() {
        let low = rows - 1.0 - f64::from(u32::try_from(place)?);
        let bar = Rectangle::new([(0.0, low + 0.2), (*figure, low + 0.8)], Palette99::pick(place).filled());
        let label = Text::new(format!("{name}: {}", short(*figure)), (figure + most * 0.01, low + 0.57), ("sans-serif", 14));
        chart.draw_series([bar])?;
        chart.draw_series([label])?;
    }
    area.present()?;
    Ok(())
}

/// Draws one line for each name, with a logarithmic axis for the figures.
pub(crate) fn lines(file: &Path, title: &str, axes: [&str; 2], lines: &[(&str, Vec<(f64, f64)>)]) -> Drawn {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let (low, high) = points().map(|(_, y)| *y).fold((f64::INFINITY, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
    let mut builder = ChartBuilder::on(&area);
    let builder = builder.caption(title, ("sans-serif", 18)).margin(12).x_label_area_size(40).y_label_area_size(60);
    let mut chart = builder.build_cartesian_2d(0.0..right * 1.05, (low * 0.7..high * 1.4).log_scale())?;
    chart.configure_mesh().x_desc(axes[0]).y_desc(axes[1]).light_line_style(WHITE).draw()?;
    for (place, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(place).to_rgba();
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(4))?;
        series.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

/// Formats a figure with three significant digits.
pub(crate) fn short(figure: f64) -> String {
    let decimals = if figure >= 100.0 {
        0
    } else if figure >= 10.0 {
        1
    } else {
        2
    };
    format!("{figure:.decimals$}")
}
