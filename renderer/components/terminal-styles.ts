// xterm under a policy that forbids inline styles: what it writes into the <style> elements that it
// makes when it opens goes into constructed style sheets instead, which the policy allows.

/** Runs `open`; answers how to take the style sheets off the page again. */
export function withConstructedStyles(open: () => void): () => void {
  const sheets: CSSStyleSheet[] = [];
  function styleElement(): HTMLElement {
    const sheet = new CSSStyleSheet();
    sheets.push(sheet);
    document.adoptedStyleSheets.push(sheet);
    const element = Document.prototype.createElement.call(document, 'span');
    element.hidden = true;
    Object.defineProperty(element, 'textContent', {
      set(text: string) {
        sheet.replaceSync(text);
      },
    });
    return element;
  }
  document.createElement = (tag: string) =>
    tag === 'style' ? styleElement() : Document.prototype.createElement.call(document, tag);
  try {
    open();
  } finally {
    Reflect.deleteProperty(document, 'createElement');
  }
  return () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter(
      (sheet) => !sheets.includes(sheet),
    );
  };
}
