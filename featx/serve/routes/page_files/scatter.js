// A scatter of points on a canvas, to move and zoom in.

const EDGE = 28;
const WIDEST = 1.6;
const NEAREST_PX = 14;
const MOST_ZOOM = 60;
const PICTURE_PX = 44;
const MOST_PICTURES = 80;
const STEP_PX = 60;
const SHAPES = [disc, square, triangle, diamond];

export class Scatter {
  /**
   * `picked` is called with the point under the pointer or the keys, or null; `opened` with the one
   * that is clicked; `moved` with the one that is picked whenever it is drawn, which may be at another
   * place; `pictureOf` gives a loaded image of a point, or null until there is one.
   */
  constructor(canvas, { picked, opened, moved, pictureOf }) {
    Object.assign(this, { canvas, picked, opened, moved, pictureOf });
    this.points = [];
    this.colours = [];
    this.query = null;
    this.dimmed = new Set();
    this.chosen = null;
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Show points { id, label, code, x, y } with x and y in 0 to 1. */
  show(points) {
    this.points = points;
    this.chosen = points.find((point) => point.id === this.chosen?.id) ?? null;
    this.draw();
  }

  showAll() {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.draw();
  }

  choose(point) {
    this.chosen = point;
    if (point) this.reach(point);
    this.picked(point);
    this.draw();
  }

  /** Zoom by a factor; what is at a place of the canvas, its middle unless given, stays there. */
  zoomBy(factor, at = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 }) {
    const zoom = Math.max(0.5, Math.min(MOST_ZOOM, this.zoom * factor));
    const [x, y] = [at.x - this.canvas.clientWidth / 2, at.y - this.canvas.clientHeight / 2];
    const grown = zoom / this.zoom;
    this.pan = { x: x - (x - this.pan.x) * grown, y: y - (y - this.pan.y) * grown };
    this.zoom = zoom;
    this.draw();
  }

  moveBy(x, y) {
    this.pan = { x: this.pan.x + x, y: this.pan.y + y };
    this.draw();
  }

  /** Where a point is on the canvas. */
  placeOf({ x, y }) {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const wide = Math.min(width - 2 * EDGE, WIDEST * (height - 2 * EDGE));
    const tall = Math.min(height - 2 * EDGE, WIDEST * wide);
    return {
      x: width / 2 + this.pan.x + (x - 0.5) * wide * this.zoom,
      y: height / 2 + this.pan.y + (y - 0.5) * tall * this.zoom,
    };
  }

  reach(point) {
    const place = this.placeOf(point);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const isSeen = place.x > EDGE && place.x < width - EDGE && place.y > EDGE && place.y < height - EDGE;
    if (!isSeen) this.pan = { x: this.pan.x + width / 2 - place.x, y: this.pan.y + height / 2 - place.y };
  }

  nearest(at) {
    let best = null;
    let least = NEAREST_PX * (this.seesPictures ? 2 : 1);
    for (const point of this.points) {
      const place = this.placeOf(point);
      const far = Math.hypot(place.x - at.x, place.y - at.y);
      if (far < least && !this.isDim(point)) [best, least] = [point, far];
    }
    return best;
  }

  isDim(point) {
    return this.dimmed.has(point.code);
  }

  draw() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = devicePixelRatio || 1;
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== tall) Object.assign(canvas, { width: wide, height: tall });
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const seen = this.points
      .map((point) => ({ point, ...this.placeOf(point) }))
      .filter(({ x, y }) => x > -EDGE && x < width + EDGE && y > -EDGE && y < height + EDGE);
    this.seesPictures = seen.length <= MOST_PICTURES;
    for (const each of seen.filter(({ point }) => this.isDim(point))) this.drawPoint(pen, each);
    for (const each of seen.filter(({ point }) => !this.isDim(point))) this.drawPoint(pen, each);
    if (this.query) this.drawQuery(pen);
    if (this.chosen) this.drawChosen(pen);
    this.moved(this.chosen);
  }

  drawPoint(pen, { point, x, y }) {
    const isDim = this.isDim(point);
    const picture = this.seesPictures && !isDim ? this.pictureOf(point) : null;
    pen.fillStyle = pen.strokeStyle = this.colours[point.code];
    pen.globalAlpha = isDim ? 0.12 : 0.9;
    if (picture) drawPicture(pen, picture, x, y);
    else {
      pen.beginPath();
      SHAPES[point.shape](pen, x, y, Math.min(8, 4 + this.zoom / 3));
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  drawChosen(pen) {
    const { x, y } = this.placeOf(this.chosen);
    pen.strokeStyle = this.ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, this.seesPictures ? PICTURE_PX / 1.6 : 11, 0, 2 * Math.PI);
    pen.stroke();
  }

  /** A ring where the item that was asked about would lie, with threads to its neighbours. */
  drawQuery(pen) {
    const { x, y } = this.placeOf(this.query);
    pen.strokeStyle = pen.fillStyle = this.ink;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.45;
    for (const near of this.query.near) {
      const end = this.placeOf(near);
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(end.x, end.y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.lineWidth = 3;
    pen.beginPath();
    pen.arc(x, y, 13, 0, 2 * Math.PI);
    pen.stroke();
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.lineWidth = 4;
    pen.strokeStyle = this.paper;
    pen.strokeText("your item", x, y - 20);
    pen.fillText("your item", x, y - 20);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => (event.preventDefault(), this.zoomBy(Math.exp(-event.deltaY / 400), placeIn(canvas, event))), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.pointers.size || this.choose(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, placeIn(this.canvas, event));
    this.travelled = 0;
  }

  move(event) {
    const now = placeIn(this.canvas, event);
    const then = this.pointers.get(event.pointerId);
    if (!then) {
      const point = this.nearest(now);
      if (point !== this.chosen) this.choosePassing(point);
      return;
    }
    this.pointers.set(event.pointerId, now);
    this.travelled += Math.hypot(now.x - then.x, now.y - then.y);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) {
      this.moveBy(now.x - then.x, now.y - then.y);
      return;
    }
    const [before, after] = [then, now].map((place) => Math.hypot(place.x - other.x, place.y - other.y));
    this.zoomBy(after / Math.max(before, 1), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  }

  choosePassing(point) {
    this.chosen = point;
    this.picked(point);
    this.draw();
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (this.travelled > 5) return;
    const point = this.nearest(placeIn(this.canvas, event));
    const isTouch = event.pointerType === "touch";
    if (point && (!isTouch || point === this.chosen)) this.opened(point);
    else this.choosePassing(point);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.moveBy(STEP_PX, 0),
      ArrowRight: () => this.moveBy(-STEP_PX, 0),
      ArrowUp: () => this.moveBy(0, STEP_PX),
      ArrowDown: () => this.moveBy(0, -STEP_PX),
      "+": () => this.zoomBy(1.4),
      "=": () => this.zoomBy(1.4),
      "-": () => this.zoomBy(1 / 1.4),
      0: () => this.showAll(),
      n: () => this.walk(1),
      p: () => this.walk(-1),
      Enter: () => this.chosen && this.opened(this.chosen),
      Escape: () => this.choose(null),
    };
    if (!(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  }

  walk(step) {
    const open = this.points.filter((point) => !this.isDim(point));
    if (!open.length) return;
    const at = open.indexOf(this.chosen);
    this.choose(open[at < 0 ? 0 : (at + step + open.length) % open.length]);
  }
}

function placeIn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function drawPicture(pen, picture, x, y) {
  const scale = PICTURE_PX / Math.max(picture.naturalWidth, picture.naturalHeight, 1);
  const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  pen.globalAlpha = 1;
  pen.drawImage(picture, x - width / 2, y - height / 2, width, height);
  pen.lineWidth = 2;
  pen.strokeRect(x - width / 2, y - height / 2, width, height);
}

function disc(pen, x, y, r) {
  pen.arc(x, y, r, 0, 2 * Math.PI);
}

function square(pen, x, y, r) {
  pen.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r);
}

function triangle(pen, x, y, r) {
  pen.moveTo(x, y - 1.15 * r);
  pen.lineTo(x + 1.05 * r, y + 0.8 * r);
  pen.lineTo(x - 1.05 * r, y + 0.8 * r);
  pen.closePath();
}

function diamond(pen, x, y, r) {
  pen.moveTo(x, y - 1.25 * r);
  pen.lineTo(x + 1.25 * r, y);
  pen.lineTo(x, y + 1.25 * r);
  pen.lineTo(x - 1.25 * r, y);
  pen.closePath();
}

/** Draw the mark of a class in the legend. */
export function drawMark(canvas, shape, colour) {
  const ratio = devicePixelRatio || 1;
  canvas.width = canvas.height = 14 * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = colour;
  pen.beginPath();
  SHAPES[shape](pen, 7, 7, 5);
  pen.fill();
}

export const N_SHAPES = SHAPES.length;
