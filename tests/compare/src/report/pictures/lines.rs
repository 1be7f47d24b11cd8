//! Draws lines: one picture with all of them, and a small picture for each.

use std::cmp::Ordering;

use plotters::coord::types::RangedCoordf64;
use plotters::element::{DashedPathElement, PathElement};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Picture;
use super::canvas::{BLUE, Canvas, FINE, FONT, GREY, GRID, INK, ORANGE, SKY, cut, draw, font};
use crate::record::{Model, Server};
use crate::report::format;
use crate::report::summary::SYNCHAT;

type Plot<'a> = DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A server's line in a picture.
pub struct Line<'a> {
    pub server: &'a Server,
    pub points: Vec<(f64, f64)>,
}

/// A tick of an axis: its place and its text.
pub type Tick = (f64, String);

/// Both axes of a picture, in the units in which it is drawn.
pub struct Axes {
    pub x: Vec<Tick>,
    pub y: Vec<Tick>,
    pub x_range: (f64, f64),
    pub y_range: (f64, f64),
    pub x_title: &'static str,
    pub y_title: &'static str,
}

/// Adds the picture with all lines, and the one with a small picture for each line.
pub fn pair(
    pictures: &mut Vec<Picture>,
    (id, title): (&str, String),
    about: &str,
    axes: &Axes,
    lines: &[Line<'_>],
    ceiling: &[(f64, f64)],
    score: impl Fn(&Line<'_>) -> f64,
) -> anyhow::Result<()> {
    let shown = outstanding(lines, score);
    let rest = if shown.len() < lines.len() {
        " The named lines are synchat (circles) and the best server of each kind: a thread for \
         each connection (triangles), one event loop (squares), several event loops (diamonds). \
         The others are grey."
    } else {
        ""
    };

    // All lines in one picture.
    pictures.push(Picture {
        id: id.to_owned(),
        title: title.clone(),
        about: format!("{about}{rest}"),
        svg: draw(300, |canvas| overview(canvas, axes, lines, &shown, ceiling))?,
    });

    // A small picture for each, if the large one does not name them all.
    let own = lines.iter().find(|line| line.server.name == SYNCHAT);
    let others: Vec<&Line<'_>> = lines.iter().filter(|l| l.server.name != SYNCHAT).collect();
    if shown.len() < lines.len() && !others.is_empty() {
        let rows = others.len().div_ceil(3) as i32;
        pictures.push(Picture {
            id: format!("{id}-each"),
            title: format!("{title}: each server"),
            about:
                "Each server has its own small picture. Its line is thin; the thick line behind \
                    it is synchat’s. The axes are those of the previous picture."
                    .to_owned(),
            svg: draw(rows * 104, |canvas| panels(canvas, axes, &others, own))?,
        });
    }
    Ok(())
}

/// Chooses the lines that get a name: synchat's, and for each model the one with the best score.
fn outstanding(lines: &[Line<'_>], score: impl Fn(&Line<'_>) -> f64) -> Vec<usize> {
    let of = |model: Model| {
        let others = lines.iter().enumerate();
        others
            .filter(|(_, line)| line.server.model == model && line.server.name != SYNCHAT)
            .max_by(|a, b| {
                score(a.1)
                    .partial_cmp(&score(b.1))
                    .unwrap_or(Ordering::Equal)
            })
            .map(|(place, _)| place)
    };

    if lines.len() <= 5 {
        return (0..lines.len()).collect();
    }

    let own = lines.iter().position(|line| line.server.name == SYNCHAT);
    let models = [Model::Threads, Model::Loop, Model::Loops, Model::Unknown];
    own.into_iter()
        .chain(models.into_iter().filter_map(of))
        .collect()
}

fn overview(
    canvas: &Canvas<'_>,
    axes: &Axes,
    lines: &[Line<'_>],
    shown: &[usize],
    ceiling: &[(f64, f64)],
) -> anyhow::Result<()> {
    let plot = plot(canvas, axes, (22, 42, 46, 104))?;
    draw_axes(canvas, &plot, axes)?;

    if !ceiling.is_empty() {
        let dashes = DashedPathElement::new(
            ceiling.to_vec(),
            4 * FINE,
            4 * FINE,
            INK.stroke_width(FINE as u32),
        );
        plot.draw(&dashes)?;
    }

    // Grey lines lie below the named ones.
    for (place, line) in lines.iter().enumerate() {
        if !shown.contains(&place) {
            let thin = GREY.stroke_width(FINE as u32);
            plot.draw(&PathElement::new(line.points.clone(), thin))?;
        }
    }

    let mut labels = Vec::new();
    for line in shown.iter().rev().map(|place| &lines[*place]) {
        stroke(&plot, line)?;
        if let Some(last) = line.points.last() {
            labels.push((plot.map_coordinate(last), line.server));
        }
    }

    draw_labels(canvas, labels)
}

/// Names at the ends of their lines, moved apart where they would touch.
fn draw_labels(canvas: &Canvas<'_>, mut labels: Vec<((i32, i32), &Server)>) -> anyhow::Result<()> {
    let apart = 15 * FINE;
    labels.sort_by_key(|((_, y), _)| *y);

    // Names that would touch move down.
    let mut heights: Vec<i32> = labels.iter().map(|((_, y), _)| *y).collect();
    for place in 1..heights.len() {
        heights[place] = heights[place].max(heights[place - 1] + apart);
    }

    // A name that was pushed past the bottom moves up again.
    let bottom = canvas.dim_in_pixel().1 as i32 - 42 * FINE;
    let mut below = bottom + apart;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(below - apart);
        below = *height;
    }

    for (((x, y), server), height) in labels.into_iter().zip(heights) {
        let (from, to) = ((x + 5 * FINE, y), (x + 12 * FINE, height));
        canvas.draw(&PathElement::new(vec![from, to], colour(server)))?;

        let weight = if server.name == SYNCHAT {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };

        let style = font(FONT)
            .style(weight)
            .color(&INK)
            .pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw(&Text::new(
            cut(&server.name, 14),
            (to.0 + 3 * FINE, to.1),
            style,
        ))?;
    }
    Ok(())
}

fn panels(
    canvas: &Canvas<'_>,
    axes: &Axes,
    others: &[&Line<'_>],
    own: Option<&Line<'_>>,
) -> anyhow::Result<()> {
    let rows = others.len().div_ceil(3);
    let areas = canvas.split_evenly((rows, 3));

    for (area, line) in areas.iter().zip(others) {
        let plot = plot(area, axes, (22, 6, 6, 6))?;

        for (height, _) in &axes.y {
            rule(
                &plot,
                vec![(axes.x_range.0, *height), (axes.x_range.1, *height)],
            )?;
        }

        if let Some(own) = own {
            let heavy = SKY.stroke_width(4 * FINE as u32);
            plot.draw(&PathElement::new(own.points.clone(), heavy))?;
        }

        let thin = INK.stroke_width(3 * FINE as u32 / 2);
        plot.draw(&PathElement::new(line.points.clone(), thin))?;
        for point in &line.points {
            plot.draw(&Circle::new(*point, 2 * FINE, INK.filled()))?;
        }

        let style = font(FONT)
            .color(&INK)
            .pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(
            cut(&line.server.name, 18),
            (6 * FINE, 11 * FINE),
            style,
        ))?;
    }
    Ok(())
}

/// Draws a line and its marks in its server's style.
fn stroke(plot: &Plot<'_>, line: &Line<'_>) -> anyhow::Result<()> {
    let colour = colour(line.server);
    let own = line.server.name == SYNCHAT;

    let width = if own { 7 * FINE / 2 } else { 3 * FINE / 2 };
    plot.draw(&PathElement::new(
        line.points.clone(),
        colour.stroke_width(width as u32),
    ))?;

    // The shape of the marks tells the model.
    let fill = colour.filled();
    let reach = 4 * FINE;
    for point in &line.points {
        let at = EmptyElement::at(*point);
        match line.server.model {
            _ if own => plot.draw(&Circle::new(*point, 5 * FINE, fill))?,
            Model::Threads => plot.draw(&TriangleMarker::new(*point, 5 * FINE, fill))?,
            Model::Loop => {
                plot.draw(&(at + Rectangle::new([(-reach, -reach), (reach, reach)], fill)))?;
            }
            Model::Loops => {
                let corners = [(-reach, 0), (0, -reach), (reach, 0), (0, reach)];
                plot.draw(
                    &(at + Polygon::new(corners.map(|(x, y)| (x * 5 / 4, y * 5 / 4)), fill)),
                )?;
            }
            Model::Unknown | Model::Reflector => {
                plot.draw(&Cross::new(
                    *point,
                    4 * FINE,
                    colour.stroke_width(2 * FINE as u32),
                ))?;
            }
        }
    }
    Ok(())
}

/// Returns the part of `area` within `margins` (top, bottom, left, right), with the coordinates of
/// the axes.
fn plot<'a>(
    area: &Canvas<'a>,
    axes: &Axes,
    margins: (i32, i32, i32, i32),
) -> anyhow::Result<Plot<'a>> {
    let (top, bottom, left, right) = margins;

    let chart = ChartBuilder::on(area)
        .margin_top(top * FINE)
        .margin_bottom(bottom * FINE)
        .margin_left(left * FINE)
        .margin_right(right * FINE)
        .build_cartesian_2d(
            axes.x_range.0..axes.x_range.1,
            axes.y_range.0..axes.y_range.1,
        )?;

    Ok(chart.plotting_area().clone())
}

fn rule(plot: &Plot<'_>, points: Vec<(f64, f64)>) -> anyhow::Result<()> {
    Ok(plot.draw(&PathElement::new(points, GRID.stroke_width(FINE as u32)))?)
}

fn draw_axes(canvas: &Canvas<'_>, plot: &Plot<'_>, axes: &Axes) -> anyhow::Result<()> {
    let label = |h, v| font(FONT).color(&INK).pos(Pos::new(h, v));

    for (height, text) in &axes.y {
        rule(
            plot,
            vec![(axes.x_range.0, *height), (axes.x_range.1, *height)],
        )?;
        let (x, y) = plot.map_coordinate(&(axes.x_range.0, *height));
        let style = label(HPos::Right, VPos::Center);
        canvas.draw(&Text::new(text.as_str(), (x - 4 * FINE, y), style))?;
    }

    let mut free = i32::MIN;
    let mut below = 0;
    for (along, text) in &axes.x {
        rule(
            plot,
            vec![(*along, axes.y_range.0), (*along, axes.y_range.1)],
        )?;

        let (x, y) = plot.map_coordinate(&(*along, axes.y_range.0));
        below = y;
        let half = text.chars().count() as i32 * FONT * FINE * 13 / 40;
        // A label that would touch the previous one is left out. Its line stays.
        if x - half > free {
            let style = label(HPos::Center, VPos::Top);
            canvas.draw(&Text::new(text.as_str(), (x, y + 4 * FINE), style))?;
            free = x + half + 3 * FINE;
        }
    }

    // The titles of both axes.
    let style = label(HPos::Left, VPos::Top);
    let (left, _) = plot.map_coordinate(&(axes.x_range.0, axes.y_range.0));
    canvas.draw(&Text::new(
        axes.x_title,
        (left, below + 22 * FINE),
        style.clone(),
    ))?;
    canvas.draw(&Text::new(axes.y_title, (4 * FINE, 3 * FINE), style))?;
    Ok(())
}

fn colour(server: &Server) -> RGBColor {
    match server.model {
        _ if server.name == SYNCHAT => BLUE,
        Model::Threads => RGBColor(213, 94, 0),
        Model::Loop => RGBColor(0, 158, 115),
        Model::Loops => RGBColor(204, 121, 167),
        Model::Unknown | Model::Reflector => ORANGE,
    }
}

/// Returns the range of the values with a little room on both sides. It is never empty.
pub fn spread(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let wider = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.into_iter().fold(ends, wider);

    if low > high {
        return (0.0, 1.0);
    }

    let room = ((high - low) * 0.04).max(0.02);
    (low - room, high + room)
}

/// Returns ticks from 0 up, in steps of 1, 2 or 5 times a power of ten. There are at most five
/// steps.
pub fn even_ticks(top: f64) -> Vec<Tick> {
    let power = 10f64.powf((top / 5.0).log10().floor());

    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps
        .into_iter()
        .find(|step| top / step <= 5.0)
        .unwrap_or(top);

    (0..=(top / step) as usize)
        .map(|count| (count as f64 * step, format::round(count as f64 * step)))
        .collect()
}

/// Returns the powers of ten within a range of logarithms. A short range also gets twos and fives.
pub fn decades((low, high): (f64, f64)) -> Vec<Tick> {
    let factors: &[f64] = if high - low > 2.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };

    let powers = (low.floor() as i32)..=(high.ceil() as i32);
    powers
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|value| (low..=high).contains(&value.log10()))
        .map(|value| (value.log10(), format::plain(&format::time(value))))
        .collect()
}

pub fn collect(server: &Server, points: impl IntoIterator<Item = (f64, f64)>) -> Option<Line<'_>> {
    let points: Vec<(f64, f64)> = points.into_iter().collect();
    (!points.is_empty()).then_some(Line { server, points })
}
