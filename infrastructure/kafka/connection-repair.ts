import Connection from 'kafkajs/src/network/connection.js';

const { connect } = Connection.prototype;
const connecting = new WeakMap<Connection, Promise<unknown>>();

/**
 * In kafkajs 2.2.4 each of several requests that find a connection closed, as after a broker's restart, opens a
 * socket of its own and only the last one is used. The others stay open until the broker ends them for being idle,
 * which the connection then takes for its own end. So those who come while it is being opened wait for that.
 */
Connection.prototype.connect = function (this: Connection): Promise<unknown> {
  const opened = connecting.get(this) ?? connect.call(this).finally(() => connecting.delete(this));
  connecting.set(this, opened);
  return opened;
};
