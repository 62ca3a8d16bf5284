// A message that an expression made. In a file of its own: what counts costs knows it, and does not load the library.

/** The library knows a type by its class: each has one of its own. */
export class Message {
  readonly typeName: string;
  readonly fields: ReadonlyMap<string, unknown>;

  constructor(typeName: string, fields: ReadonlyMap<string, unknown>) {
    this.typeName = typeName;
    this.fields = fields;
  }
}
