// Elements, made in one line. Text is always text: nothing that a server or a stream says becomes markup.

/** An element with properties (`class`, `on…` for events, everything else an attribute) and children. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children)
}

/** The same of SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children)
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false))
  return element
}

/** Sets the text of an element, if it is another one: what is selected stays selected. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Keeps the children of `parent` in step with a list: one element for each key, made once, then refreshed, and closed. */
export function keep(parent, list, key, make, refresh) {
  const known = parent.kept ??= new Map()
  const wanted = new Set(list.map(key))
  for (const [name, entry] of known) {
    if (wanted.has(name)) continue
    entry.element.remove()
    entry.close?.()
    known.delete(name)
  }
  list.forEach((item, index) => {
    const name = key(item)
    let entry = known.get(name)
    if (!entry) known.set(name, entry = make(item))
    refresh(entry, item)
    if (parent.children[index] !== entry.element) parent.insertBefore(entry.element, parent.children[index] ?? null)
  })
}

let hiding

/** Says something at the foot of the page for a moment. */
export function notice(text) {
  const place = document.getElementById('notice')
  place.textContent = text
  place.classList.add('shown')
  clearTimeout(hiding)
  hiding = setTimeout(() => place.classList.remove('shown'), 4000)
}
