import { Component, type ReactNode } from 'react';

interface Props {
  title: string;
  children: ReactNode;
}

/** What breaks within stays within. */
export class Boundary extends Component<Props, { error: Error | undefined }> {
  override state = { error: undefined as Error | undefined };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div className="empty failed" role="alert">
        <p>
          {this.props.title} cannot be drawn: {error.message}
        </p>
        <button type="button" className="plain" onClick={() => this.setState({ error: undefined })}>
          Try again
        </button>
      </div>
    );
  }
}
