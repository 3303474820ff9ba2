"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const config = {responsive: true, displaylogo: false, plotlyServerURL: ""};
  const viewer = document.getElementById("pose3d");
  const chosen = {run: 0, sample: 0};

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // What every figure takes from the page, so that it is legible in the light and in the dark.
  const themed = (layout) => {
    const axis = {gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule")};
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {color: colour("ink"), family: "system-ui, sans-serif", size: 13},
      xaxis: {...axis, ...layout.xaxis}, yaxis: {...axis, ...layout.yaxis},
    };
  };

  // Colours of series are names of the style sheet's.
  const coloured = (data) => JSON.parse(JSON.stringify(data), (key, value) => (key === "color" && colour(value)) || value);

  const drawCharts = () => {
    for (const [name, chart] of Object.entries(report.charts)) {
      for (const trace of chart.data) if (trace.error_x) trace.error_x.color = "ink";
      Plotly.react(name, coloured(chart.data), themed(chart.layout), {...config, displayModeBar: false});
    }
  };

  // Camera axes are x right, y down, z forward. Turned about x, so that people stand and nothing is mirrored.
  const upright = ([x, y, z]) => [x, z, -y];

  const limbs = (pose, style) => ["right", "left", "middle"].map((side) => {
    const points = report.bones.filter((bone) => bone[2] === side)
      .flatMap(([child, parent]) => [pose[parent], pose[child], [null, null, null]]);
    return {
      type: "scatter3d", mode: "lines", hoverinfo: "skip", showlegend: false,
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), z: points.map((p) => p[2]),
      line: {color: colour(side), ...style},
    };
  });

  const joints = (pose, truth) => ({
    type: "scatter3d", mode: "markers", showlegend: false, marker: {size: 2.2, color: colour("ink")},
    x: pose.map((p) => p[0]), y: pose.map((p) => p[1]), z: pose.map((p) => p[2]),
    text: report.joints.map((name, j) => truth
      ? `${name}: ${Math.hypot(...pose[j].map((value, axis) => value - truth[j][axis])).toFixed(0)} mm off` : name),
    hoverinfo: "text",
  });

  const scene = (poses) => {
    const axes = [0, 1, 2].map((axis) => poses.flat().map((point) => point[axis]));
    const spans = axes.map((values) => [Math.min(...values), Math.max(...values)]);
    const half = 0.55 * Math.max(1, ...spans.map(([low, high]) => high - low));
    const [x, y, z] = spans.map(([low, high], axis) => ({
      range: [(low + high) / 2 - half, (low + high) / 2 + half],
      title: {text: ["x (mm)", "depth z (mm)", "up, -y (mm)"][axis], font: {size: 11}},
      tickfont: {size: 10}, nticks: 5, gridcolor: colour("rule"), zerolinecolor: colour("rule"),
      backgroundcolor: colour("panel"), showbackground: true, color: colour("faint"),
    }));
    return {
      xaxis: x, yaxis: y, zaxis: z, uirevision: "kept",
      aspectmode: "manual", aspectratio: {x: 1.2, y: 1.2, z: 1.2},  // equal scales, and large in the figure
      camera: {eye: {x: 0.8, y: -1.6, z: 0.5}, projection: {type: "orthographic"}},
    };
  };

  const hasWebGL = () => {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  };

  const drawPose = () => {
    const sample = report.samples[chosen.sample];
    const predicted = sample.predicted[chosen.run].map(upright);
    const truth = sample.truth && sample.truth.map(upright);
    const traces = [...limbs(predicted, {width: 8}), joints(predicted, truth)];
    if (truth) traces.push(...limbs(truth, {width: 3, dash: "dash"}));
    const layout = {
      margin: {l: 0, r: 0, t: 0, b: 0}, uirevision: "kept", scene: scene(truth ? [predicted, truth] : [predicted]),
    };
    Plotly.react(viewer, traces, themed(layout), {...config, modeBarButtonsToRemove: ["tableRotation"]});
  };

  const drawStill = () => {
    const views = document.querySelector(`[data-sample="${chosen.sample}"] .views`).cloneNode(true);
    const words = document.createElement("p");
    words.textContent = "This browser has no WebGL, so the skeleton cannot be turned. Its drawings:";
    viewer.replaceChildren(words, views);
  };

  const drawViewer = viewer && (hasWebGL() ? drawPose : drawStill);

  const showRun = () => {
    for (const marked of document.querySelectorAll("[data-run]")) {
      marked.style.display = Number(marked.dataset.run) === chosen.run ? "" : "none";
    }
  };

  const show = () => {
    const sample = report.samples[chosen.sample];
    const error = sample.errors[chosen.run];
    document.getElementById("pose-name").textContent =
      (error === undefined ? "" : `${error.toFixed(0)} mm: `) + sample.name;
    for (const card of document.querySelectorAll("[data-sample]")) {
      card.setAttribute("aria-pressed", String(Number(card.dataset.sample) === chosen.sample));
    }
    drawViewer();
  };

  drawCharts();
  if (viewer) {
    for (const card of document.querySelectorAll("[data-sample]")) {
      card.addEventListener("click", () => { chosen.sample = Number(card.dataset.sample); show(); });
    }
    document.getElementById("run-choice")?.addEventListener("change", (event) => {
      chosen.run = Number(event.target.value);
      showRun();
      show();
    });
    showRun();
    show();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawCharts();
    if (viewer) drawViewer();
  });
})();
