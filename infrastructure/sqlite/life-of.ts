/** `connection` for the time of one transaction: what is kept and used after `end` is refused. */
export function lifeOf<Connection>(connection: Connection): { live(): Connection; end(): void } {
  let over = false;
  return {
    live() {
      if (over) throw new Error('This transaction is over');
      return connection;
    },
    end() {
      over = true;
    },
  };
}
